#pragma once

#include <string>

#include <stout/error.hpp>
#include <stout/option.hpp>

template <typename T>
class Try
{
public:
  Try(const T& value) : data(value) {}
  Try(const Error& error) : message(error.message) {}

  bool isSome() const { return data.isSome(); }
  bool isError() const { return data.isNone(); }
  const T& get() const { return data.get(); }
  const std::string& error() const { if (isSome()) { std::abort(); } return message; }

private:
  Option<T> data;
  std::string message;
};
