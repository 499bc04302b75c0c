#pragma once

namespace process {

template <typename T>
class Process
{
public:
  virtual ~Process() {}
};

} // namespace process {
