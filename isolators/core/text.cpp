#include "text.hpp"

#include <stdio.h>

namespace dvdcli {

std::vector<std::string> linesOf(const std::string& text)
{
  std::vector<std::string> lines;
  std::string line;
  for (const char c : text + "\n") {
    if (c == '\n') {
      line.erase(line.find_last_not_of(' ') + 1);
      if (line.size() > 1024) {
        line.replace(1024, std::string::npos, "...");
      }
      if (!line.empty()) {
        lines.push_back(line);
      }
      line.clear();
    } else {
      line += static_cast<unsigned char>(c) < ' ' || c == 0x7f ? ' ' : c;
    }
  }
  return lines;
}


bool looksLikeObject(const std::string& text)
{
  const size_t end = text.find_last_not_of(" \n\r\t") + 1;
  const int deepest = 64;
  int depth = 0;
  bool quoted = false;
  for (size_t at = 0; at < end; ++at) {
    const char c = text[at];
    if (quoted) {
      if (c == '\\') {
        ++at;
      }
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > deepest) {
        return false;
      }
    } else if ((c == '}' || c == ']') && --depth == 0) {
      return text[0] == '{' && at + 1 == end;
    }
  }
  return false;
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
