// A double of libprocess's futures: what a module uses of them, from any thread.

#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <stout/nothing.hpp>
#include <stout/option.hpp>

namespace process {

struct Failure
{
  explicit Failure(const std::string& text) : message(text) {}
  std::string message;
};

template <typename T> class Promise;

template <typename T>
class Future
{
public:
  Future() : data(std::make_shared<Data>()) {}
  Future(const T& value) : data(std::make_shared<Data>()) { settle("ready", Option<T>(value), ""); }
  template <typename U> Future(const U& value) : Future(T(value)) {}
  Future(const Failure& failure) : data(std::make_shared<Data>()) { settle("failed", None(), failure.message); }

  std::string state() const { std::lock_guard<std::mutex> lock(data->mutex); return data->state; }
  T get() const { std::lock_guard<std::mutex> lock(data->mutex); return data->value.get(); }
  std::string failure() const { std::lock_guard<std::mutex> lock(data->mutex); return data->failure; }
  bool hasDiscard() const { std::lock_guard<std::mutex> lock(data->mutex); return data->discard; }
  bool discard() { std::lock_guard<std::mutex> lock(data->mutex); return data->discard = data->state == "pending"; }

  void onAny(const std::function<void(const Future<T>&)>& callback) const
  {
    {
      std::lock_guard<std::mutex> lock(data->mutex);
      if (data->state == "pending") {
        data->callbacks.push_back(callback);
        return;
      }
    }
    callback(*this);
  }

private:
  friend class Promise<T>;

  struct Data
  {
    std::mutex mutex;
    std::string state = "pending";
    Option<T> value;
    std::string failure;
    bool discard = false;
    std::vector<std::function<void(const Future<T>&)>> callbacks;
  };

  bool settle(const std::string& state, const Option<T>& value, const std::string& failure)
  {
    std::vector<std::function<void(const Future<T>&)>> callbacks;
    {
      std::lock_guard<std::mutex> lock(data->mutex);
      if (data->state != "pending") {
        return false;
      }
      data->state = state;
      data->value = value;
      data->failure = failure;
      callbacks.swap(data->callbacks);
    }
    for (const auto& callback : callbacks) {
      callback(*this);
    }
    return true;
  }

  std::shared_ptr<Data> data;
};

template <typename T>
class Promise
{
public:
  ~Promise() { result.settle("abandoned", None(), "the promise was abandoned"); }
  Future<T> future() const { return result; }
  bool set(const T& value) { return result.settle("ready", Option<T>(value), ""); }
  bool fail(const std::string& message) { return result.settle("failed", None(), message); }

private:
  Future<T> result;
};

} // namespace process {
