#include "run.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "child.hpp"
#include "killtree.hpp"

namespace dvdcli {
namespace {

using Clock = std::chrono::steady_clock;

const size_t LONGEST_ANSWER = 16 << 20;
const size_t LONGEST_REASON = 8 << 10;

// What a process that cannot be killed (it waits for a dead disk) may take to
// end after its deadline, before the caller hears of it all the same.
const std::chrono::seconds GRACE(5);


struct Descriptor
{
  int value = -1;

  ~Descriptor() { close(); }
  void close() { if (value >= 0) { ::close(value); value = -1; } }
};


struct Pipe
{
  Descriptor read;
  Descriptor write;

  // The numbers are above 2, where the child's own are put later.
  bool open()
  {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) {
      return false;
    }
    read.value = ::fcntl(ends[0], F_DUPFD_CLOEXEC, 3);
    write.value = ::fcntl(ends[1], F_DUPFD_CLOEXEC, 3);
    ::close(ends[0]);
    ::close(ends[1]);
    return read.value >= 0 && write.value >= 0;
  }
};


void unblock(const Descriptor& descriptor)
{
  ::fcntl(descriptor.value, F_SETFL, ::fcntl(descriptor.value, F_GETFL) | O_NONBLOCK);
}


// One call, on a thread of its own: the kernel kills the child when the thread
// that made it ends (PR_SET_PDEATHSIG), so this one stays until the child is gone.
class Call
{
public:
  Call(const Command& _command, const std::function<void(const Outcome&)>& _done)
    : command(_command), done(_done) {}

  void start()
  {
    // No signal of the agent's is handled here, and a lost reader is an error of write(2).
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);

    if (!in.open() || !out.open() || !err.open() || !exec.open() || !ended.open()) {
      return tell({false, "no pipe for " + command.path + ": " + ::strerror(errno)});
    }

    const Child::Descriptors theirs = {in.read.value, out.write.value, err.write.value, exec.write.value};
    const pid_t pid = Child(command.path, {command.path, command.verb, "--isolator"}).fork(theirs);
    if (pid < 0) {
      return tell({false, "no process for " + command.path + ": " + ::strerror(errno)});
    }
    in.read.close();
    out.write.close();
    err.write.close();
    exec.write.close();
    for (const Descriptor* each : {&in.write, &out.read, &err.read, &exec.read}) {
      unblock(*each);
    }

    std::thread waiter;
    try {
      // WNOWAIT: the pid stays the child's until no kill can be on its way to it.
      waiter = std::thread([this, pid]() {
        siginfo_t info;
        while (::waitid(P_PID, pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {}
        ended.write.close();
      });
    } catch (const std::exception&) {
      killTree(pid);
      reap(pid);
      return tell({false, "no thread to wait for " + command.path});
    }
    attend(pid);
    waiter.join();
    tell(outcome(reap(pid)));
  }

private:
  // Feeds and reads the child until it has ended. Its descriptors may stay open
  // for ever: something that it started, or that the agent did, can have them.
  void attend(pid_t pid)
  {
    Clock::time_point deadline = Clock::now() + std::chrono::seconds(command.seconds);
    size_t sent = 0;
    for (;;) {
      if (sent == command.request.size()) {
        in.write.close();
      }
      struct pollfd polled[] = {
        {ended.read.value, POLLIN, 0},
        {out.read.value, POLLIN, 0},
        {err.read.value, POLLIN, 0},
        {in.write.value, POLLOUT, 0},
      };
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      const int ready = ::poll(polled, 4, left < 0 ? 0 : static_cast<int>(left) + 1);
      if (polled[0].revents != 0) {
        take(&out.read, &answer, LONGEST_ANSWER);
        take(&err.read, &reason, LONGEST_REASON);
        return;
      }
      if (ready == 0) {
        if (late) {
          tell({false, told() + ", and cannot be killed"});
          deadline = Clock::now() + std::chrono::hours(24);
          continue;
        }
        late = true;
        killTree(pid);
        deadline = Clock::now() + GRACE;
        continue;
      }
      if (polled[1].revents != 0) {
        take(&out.read, &answer, LONGEST_ANSWER);
      }
      if (polled[2].revents != 0) {
        take(&err.read, &reason, LONGEST_REASON);
      }
      if (polled[3].revents != 0) {
        const ssize_t count =
          ::write(in.write.value, command.request.data() + sent, command.request.size() - sent);
        if (count > 0) {
          sent += count;
        } else if (errno != EAGAIN && errno != EINTR) {
          in.write.close();  // It does not want more: its exit status says what it made of that.
        }
      }
    }
  }

  // Reads what is there, and keeps one byte more than `longest` at most.
  static void take(Descriptor* from, std::string* to, size_t longest)
  {
    char buffer[65536];
    for (int round = 0; from->value >= 0 && round < 64; ++round) {
      const ssize_t count = ::read(from->value, buffer, sizeof(buffer));
      if (count > 0) {
        if (to->size() <= longest) {
          to->append(buffer, std::min<size_t>(count, longest + 1 - to->size()));
        }
      } else if (count == 0) {
        from->close();
      } else if (errno != EINTR) {
        return;
      }
    }
  }

  static int reap(pid_t pid)
  {
    int status = 0;
    pid_t reaped;
    do {
      reaped = ::waitpid(pid, &status, 0);
    } while (reaped < 0 && errno == EINTR);
    return reaped == pid ? status : -1;
  }

  std::string told() const
  {
    return command.path + " " + command.verb + " did not end in " + std::to_string(command.seconds) + " s";
  }

  Outcome outcome(int status)
  {
    if (late) {
      return {false, told() + " and was killed" + tail()};
    }
    int number = 0;
    if (::read(exec.read.value, &number, sizeof(number)) == sizeof(number)) {
      return {false, command.path + " cannot be run: " + ::strerror(number)};
    }
    if (status == -1) {
      return {false, "somebody else took the exit status of " + command.path + tail()};
    }
    if (WIFSIGNALED(status)) {
      return {false, command.path + " was ended by signal " + std::to_string(WTERMSIG(status)) + tail()};
    }
    if (WEXITSTATUS(status) != 0) {
      const std::string line = trimmed(reason);
      return {false, !line.empty() ? line :
        command.path + " ended with status " + std::to_string(WEXITSTATUS(status)) + " and without a word"};
    }
    if (answer.size() > LONGEST_ANSWER) {
      return {false, command.path + " answered with more than " + std::to_string(LONGEST_ANSWER) + " bytes"};
    }
    return {true, answer};
  }

  std::string tail() const
  {
    const std::string line = trimmed(reason);
    return line.empty() ? "" : ": " + line;
  }

  static std::string trimmed(std::string text)
  {
    if (text.size() > LONGEST_REASON) {
      text.replace(LONGEST_REASON - 3, std::string::npos, "...");
    }
    const size_t last = text.find_last_not_of(" \n\r\t");
    return last == std::string::npos ? "" : text.substr(0, last + 1);
  }

  void tell(const Outcome& outcome)
  {
    if (done) {
      const std::function<void(const Outcome&)> once = std::move(done);
      done = nullptr;
      once(outcome);
    }
  }

  const Command command;
  std::function<void(const Outcome&)> done;
  Pipe in, out, err;
  Pipe exec;   // carries the error of a failed execve(2)
  Pipe ended;  // is closed when the child has ended
  std::string answer;
  std::string reason;
  bool late = false;
};

} // namespace {


void run(const Command& command, const std::function<void(const Outcome&)>& done)
{
  const std::shared_ptr<Call> call(new Call(command, done));
  try {
    std::thread([call]() { call->start(); }).detach();
  } catch (const std::exception& error) {
    done({false, std::string("no thread to run ") + command.path + ": " + error.what()});
  }
}


std::string quote(const std::string& text)
{
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char escaped[8];
      ::snprintf(escaped, sizeof(escaped), "\\u%04x", c);
      quoted += escaped;
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

} // namespace dvdcli {
