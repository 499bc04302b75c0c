#pragma once

#include <google/protobuf/message.h>

#include <stout/json.hpp>
#include <stout/nothing.hpp>
#include <stout/try.hpp>

namespace protobuf {

// Defined by the agent's double. Drops unknown keys in silence, as the real one does.
Try<Nothing> fill(google::protobuf::Message* message, const JSON::Object& object);

template <typename T>
Try<T> parse(const JSON::Value& value)
{
  if (!value.is<JSON::Object>()) {
    return Error("Expecting a JSON object");
  }
  T message;
  const Try<Nothing> filled = fill(&message, value.as<JSON::Object>());
  if (filled.isError()) {
    return Error(filled.error());
  }
  if (!message.IsInitialized()) {
    return Error("Missing required fields: " + message.InitializationErrorString());
  }
  return message;
}

} // namespace protobuf {
