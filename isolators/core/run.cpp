#include "run.hpp"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <thread>

#include "child.hpp"
#include "killtree.hpp"
#include "text.hpp"

namespace dvdcli {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::duration_cast;
using std::chrono::milliseconds;

const size_t LONGEST_ANSWER = 16 << 20;
const size_t LONGEST_REASON = 8 << 10;

// What a killed process may take to end, before the caller hears of it all the
// same: one that waits for a dead disk cannot be killed.
const std::chrono::seconds GRACE(5);


struct Descriptor
{
  int value = -1;

  Descriptor() = default;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  void close()
  {
    if (value >= 0) {
      ::close(value);
    }
    value = -1;
  }
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
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    errno = error;
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
    // No signal of the agent's is handled here or in the child, and a reader
    // that is gone is an error of write(2).
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &agents);

    if (!in.open() || !out.open() || !err.open() || !exec.open() || !ended.open()) {
      return fail("no pipe for " + name() + ": " + ::strerror(errno));
    }
    const Child child(command.path, {command.path, command.verb, "--isolator"});
    const pid_t pid = child.fork({in.read.value, out.write.value, err.write.value, exec.write.value});
    if (pid < 0) {
      return fail("no process for " + name() + ": " + ::strerror(errno));
    }
    for (Descriptor* each : {&in.read, &out.write, &err.write, &exec.write}) {
      each->close();
    }
    for (Descriptor* each : {&in.write, &out.read, &err.read, &exec.read}) {
      unblock(*each);
    }

    std::thread waiter;
    try {
      waiter = std::thread([this, pid]() { awaitEnd(pid); });
    } catch (const std::exception& error) {
      killTree(pid);
      reap(pid);
      return fail("no thread to wait for " + name() + ": " + error.what());
    }
    attend(pid);
    waiter.join();
    tell(outcome(reap(pid)));
  }

private:
  // Says when the child has ended. It stays a zombie (WNOWAIT), and its pid its
  // own, until no kill can be on its way to it any more.
  void awaitEnd(pid_t pid)
  {
    siginfo_t info;
    while (::waitid(P_PID, pid, &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {}
    ended.write.close();
  }

  // Feeds and reads the child until it has ended. Its descriptors may stay open
  // for ever: something that it started can have them.
  void attend(pid_t pid)
  {
    Clock::time_point deadline = Clock::now() + std::chrono::seconds(command.seconds);
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
      const auto left = duration_cast<milliseconds>(deadline - Clock::now()).count();
      if (::poll(polled, 4, left < 0 ? 0 : static_cast<int>(left) + 1) < 0) {
        continue;  // EINTR: a debugger's
      }
      hear();
      if (polled[0].revents != 0) {
        return;
      }
      if (polled[3].revents != 0) {
        feed();
      }
      if (Clock::now() >= deadline) {
        if (late) {
          tell({false, overdue() + ", and cannot be killed", {}});
          deadline += std::chrono::hours(24);
        } else {
          late = true;
          killTree(pid);
          deadline = Clock::now() + GRACE;
        }
      }
    }
  }

  void feed()
  {
    const ssize_t count = ::write(in.write.value, command.request.data() + sent, command.request.size() - sent);
    if (count >= 0) {
      sent += count;
    } else if (errno != EAGAIN && errno != EINTR) {
      in.write.close();  // It does not want more: its exit status says what it made of that.
    }
  }

  void hear()
  {
    take(&out.read, [this](const char* data, size_t size) {
      if (answer.size() <= LONGEST_ANSWER) {
        answer.append(data, size);
      }
    });
    take(&err.read, [this](const char* data, size_t size) {
      said.append(data, size);  // Its end is what counts.
      if (said.size() > 2 * LONGEST_REASON) {
        said.erase(0, said.size() - LONGEST_REASON);
      }
    });
  }

  // Reads what is there; not for ever, where that comes without an end.
  template <typename Use>
  static void take(Descriptor* from, const Use& use)
  {
    char buffer[65536];
    for (int round = 0; from->value >= 0 && round < 32; ++round) {
      const ssize_t count = ::read(from->value, buffer, sizeof(buffer));
      if (count > 0) {
        use(buffer, count);
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

  Outcome outcome(int status) const
  {
    std::vector<std::string> lines = linesOf(said);
    int error = 0;
    std::string what;
    if (late) {
      what = overdue() + " and was killed";
    } else if (::read(exec.read.value, &error, sizeof(error)) == sizeof(error)) {
      what = command.path + " cannot be run: " + ::strerror(error);
    } else if (status == -1) {
      what = name() + " ended, and its exit status was taken by another part of the agent";
    } else if (WIFSIGNALED(status)) {
      what = name() + " was ended by signal " + std::to_string(WTERMSIG(status));
    } else if (WEXITSTATUS(status) != 0 && lines.empty()) {
      what = name() + " ended with status " + std::to_string(WEXITSTATUS(status)) + " and without a word";
    } else if (WEXITSTATUS(status) != 0) {
      what = lines.back();
      lines.pop_back();
    } else if (answer.size() > LONGEST_ANSWER) {
      what = name() + " answered with more than " + std::to_string(LONGEST_ANSWER) + " bytes";
    } else {
      return {true, answer, lines};
    }
    return {false, what, lines};
  }

  std::string name() const { return command.path + " " + command.verb; }

  std::string overdue() const { return name() + " did not end in " + std::to_string(command.seconds) + " s"; }

  void fail(const std::string& what) { tell({false, what, {}}); }

  void tell(const Outcome& outcome)
  {
    if (!told) {
      told = true;
      // What follows is the agent's: the next isolator may be prepared right here,
      // and start a child. A SIGPIPE that waits for this thread is our own.
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      const struct timespec now = {0, 0};
      while (::sigtimedwait(&pipe, nullptr, &now) == SIGPIPE) {}
      pthread_sigmask(SIG_SETMASK, &agents, nullptr);
      done(outcome);
    }
  }

  const Command command;
  const std::function<void(const Outcome&)> done;
  Pipe in, out, err;
  Pipe exec;   // carries the error of an execve(2) that fails
  Pipe ended;  // is closed when the child has ended
  sigset_t agents;  // the signals that are blocked in the agent's own threads
  size_t sent = 0;
  std::string answer;
  std::string said;
  bool late = false;
  bool told = false;
};

} // namespace {


void run(const Command& command, const std::function<void(const Outcome&)>& done)
{
  try {
    const std::shared_ptr<Call> call = std::make_shared<Call>(command, done);
    std::thread([call]() { call->start(); }).detach();
  } catch (const std::exception& error) {
    done({false, "no thread to run " + command.path + " " + command.verb + ": " + error.what(), {}});
  }
}

} // namespace dvdcli {
