#pragma once

#include <memory>

namespace process {

template <typename T>
class Owned : public std::shared_ptr<T>
{
public:
  explicit Owned(T* value) : std::shared_ptr<T>(value) {}
};

} // namespace process {
