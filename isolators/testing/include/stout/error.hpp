#pragma once

#include <string>

struct Error
{
  explicit Error(const std::string& text) : message(text) {}
  std::string message;
};
