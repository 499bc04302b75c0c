#pragma once

#include <cstdlib>

#include <stout/none.hpp>

template <typename T>
class Option
{
public:
  static Option<T> none() { return Option<T>(); }
  static Option<T> some(const T& value) { return Option<T>(value); }

  Option() : value(nullptr) {}
  Option(const None&) : value(nullptr) {}
  Option(const T& _value) : value(new T(_value)) {}
  Option(const Option<T>& that) : value(that.value == nullptr ? nullptr : new T(*that.value)) {}
  ~Option() { delete value; }

  Option<T>& operator=(const Option<T>& that)
  {
    if (this != &that) {
      delete value;
      value = that.value == nullptr ? nullptr : new T(*that.value);
    }
    return *this;
  }

  bool isSome() const { return value != nullptr; }
  bool isNone() const { return value == nullptr; }
  const T& get() const { if (value == nullptr) { std::abort(); } return *value; }

private:
  T* value;
};
