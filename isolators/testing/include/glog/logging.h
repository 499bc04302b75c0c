// A double of glog: one line to stderr, as the agent's log has it.

#pragma once

#include <sstream>

namespace google {

class LogMessage
{
public:
  explicit LogMessage(char _severity) : severity(_severity) {}
  ~LogMessage();
  std::ostream& stream() { return text; }

private:
  char severity;
  std::ostringstream text;
};

} // namespace google {

#define DOUBLE_SEVERITY_INFO 'I'
#define DOUBLE_SEVERITY_WARNING 'W'
#define DOUBLE_SEVERITY_ERROR 'E'
#define LOG(severity) google::LogMessage(DOUBLE_SEVERITY_##severity).stream()
