// Runs the core many times at once, for the sanitizers: stress PROGRAM COUNT SECONDS
//
// PROGRAM is told on stdin how it is to end; every call has to be answered once.

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <thread>

#include "../core/run.hpp"

int main(int, char** argv)
{
  const char* const ends[] = {"answer", "fail", "flood", "die", "leave", "hang"};
  const int count = std::atoi(argv[2]);
  std::atomic<int> ok(0), failed(0);
  for (int i = 0; i < count; ++i) {
    const std::string request = std::string(ends[i % 6]) + "\n" + std::string(i % 7 == 0 ? 1 << 20 : 10, 'x');
    dvdcli::run({argv[1], "mount", request, std::atoi(argv[3])}, [&ok, &failed](const dvdcli::Outcome& outcome) {
      ++(outcome.ok ? ok : failed);
    });
  }
  dvdcli::run({"/no/such", "mount", "", 5}, [&failed](const dvdcli::Outcome&) { ++failed; });
  while (ok + failed < count + 1) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the threads end after their answers
  std::cout << ok << " " << failed << std::endl;
}
