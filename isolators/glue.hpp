// What the isolators of all releases share: requests out of their messages, and
// messages out of the answers. No release is named here, and none is asked for.

#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <glog/logging.h>
#include <google/protobuf/message.h>

#include <mesos/mesos.hpp>
#include <mesos/module/isolator.hpp>
#include <mesos/slave/isolator.hpp>
#include <mesos/type_utils.hpp>
#include <mesos/version.hpp>

#include <process/future.hpp>

#include <stout/error.hpp>
#include <stout/foreach.hpp>
#include <stout/hashset.hpp>
#include <stout/json.hpp>
#include <stout/nothing.hpp>
#include <stout/option.hpp>
#include <stout/protobuf.hpp>
#include <stout/stringify.hpp>
#include <stout/try.hpp>

#include "core/run.hpp"
#include "core/text.hpp"

namespace dvdcli {

// The module's parameters, checked.
struct Settings
{
  std::string dvdcli = "/usr/bin/dvdcli";
  std::string agent;
  std::string timeout;            // seconds, "" for dvdcli's own
  std::string sandboxDirectory;   // "" for Mesos's default
  bool dockerVolumes = false;
};

// Defined by the source of each API generation.
mesos::slave::Isolator* make(const Settings& settings);


// Returns the fields that every request has.
inline std::string envelope(const Settings& settings)
{
  return "{\"protocol\":1,\"agent\":" + quote(settings.agent) + ",\"mesos_version\":" + quote(MESOS_VERSION);
}


// Returns a container's id as a list, from the root to the leaf.
inline std::string idList(const google::protobuf::Message& id)
{
  const google::protobuf::Reflection* reflection = id.GetReflection();
  const google::protobuf::FieldDescriptor* value = id.GetDescriptor()->FindFieldByName("value");
  const google::protobuf::FieldDescriptor* parent = id.GetDescriptor()->FindFieldByName("parent");
  std::string list = "[";
  if (parent != nullptr && reflection->HasField(id, parent)) {
    list = idList(reflection->GetMessage(id, parent));
    list.back() = ',';
  }
  return list + quote(reflection->GetString(id, value)) + "]";
}


template <typename Iterable>
std::string idLists(const Iterable& ids)
{
  std::string lists;
  for (const mesos::ContainerID& id : ids) {
    lists += (lists.empty() ? "" : ",") + idList(id);
  }
  return "[" + lists + "]";
}


// Removes what is bulky or secret and no business of dvdcli's, however deep.
inline void strip(google::protobuf::Message* message)
{
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  const google::protobuf::Reflection* reflection = message->GetReflection();
  reflection->ListFields(*message, &fields);
  for (const google::protobuf::FieldDescriptor* field : fields) {
    static const char* const names[] =
      {"appc", "data", "discovery", "docker", "labels", "limits", "manifest", "resources", "secret", "uris"};
    bool unwanted = false;
    for (const char* name : names) {
      unwanted = unwanted || field->name() == name;
    }
    if (unwanted) {
      reflection->ClearField(message, field);
    } else if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_MESSAGE) {
      const int count = field->is_repeated() ? reflection->FieldSize(*message, field) : 0;
      for (int index = 0; index < count; ++index) {
        strip(reflection->MutableRepeatedMessage(message, field, index));
      }
      if (!field->is_repeated()) {
        strip(reflection->MutableMessage(message, field));
      }
    }
  }
}


template <typename Message>
Message stripped(const Message& message)
{
  Message copy = message;
  strip(&copy);
  return copy;
}


// Says what in `value` is nothing that `field` can have: protobuf::parse drops
// unknown keys and bends some numbers, and the container would run without its
// volume.
std::string misfit(const google::protobuf::FieldDescriptor* field, const JSON::Value& value);


// Says which key of `object`, however deep, a message of this type does not know.
inline std::string misfit(const google::protobuf::Descriptor* type, const JSON::Object& object)
{
  for (const auto& entry : object.values) {
    const google::protobuf::FieldDescriptor* field = type->FindFieldByName(entry.first);
    if (field == nullptr) {
      return type->full_name() + " of Mesos " MESOS_VERSION " has no field '" + entry.first + "'";
    }
    if (field->is_repeated() != entry.second.is<JSON::Array>()) {
      return field->full_name() + (field->is_repeated() ? " has to be a list" : " is no list");
    }
    std::vector<JSON::Value> values = {entry.second};
    if (field->is_repeated()) {
      const JSON::Array array = entry.second.as<JSON::Array>();
      values.assign(array.values.begin(), array.values.end());
    }
    for (const JSON::Value& value : values) {
      const std::string error = misfit(field, value);
      if (!error.empty()) {
        return error;
      }
    }
  }
  return "";
}


inline std::string misfit(const google::protobuf::FieldDescriptor* field, const JSON::Value& value)
{
  typedef google::protobuf::FieldDescriptor Field;
  bool fits;
  switch (field->cpp_type()) {
    case Field::CPPTYPE_MESSAGE:
      if (value.is<JSON::Object>()) {
        return misfit(field->message_type(), value.as<JSON::Object>());
      }
      fits = false;
      break;
    case Field::CPPTYPE_ENUM:
      fits = value.is<JSON::String>() &&
        field->enum_type()->FindValueByName(value.as<JSON::String>().value) != nullptr;
      break;
    case Field::CPPTYPE_STRING:
      fits = value.is<JSON::String>();
      break;
    case Field::CPPTYPE_BOOL:
      fits = value.is<JSON::Boolean>();
      break;
    default: {  // None of ours is negative, has a fraction, or more than 31 bits.
      const std::string digits = value.is<JSON::Number>() ? stringify(value) : "";
      fits = !digits.empty() && digits.find_first_not_of("0123456789") == std::string::npos &&
        (digits.size() < 10 || (digits.size() == 10 && digits <= "2147483647"));
    }
  }
  return fits ? "" : field->full_name() + " cannot be " + stringify(value);
}


// Returns the answer's fields, once it is seen to be one. Its pending lines are logged.
inline Try<JSON::Object> opened(const std::string& answer)
{
  if (!looksLikeObject(answer)) {
    const std::vector<std::string> lines = linesOf(answer.substr(0, 80));
    return Error("dvdcli answered no JSON, but '" + (lines.empty() ? "" : lines[0]) + "'");
  }
  const Try<JSON::Object> object = JSON::parse<JSON::Object>(answer);
  if (object.isError()) {
    return Error("dvdcli answered no JSON: " + object.error());
  }
  for (const auto& entry : object.get().values) {
    if (entry.first != "protocol" && entry.first != "launch" && entry.first != "pending") {
      return Error("dvdcli's answer has an unknown field '" + entry.first + "'");
    }
  }
  const auto protocol = object.get().values.find("protocol");
  if (protocol == object.get().values.end() || stringify(protocol->second) != "1") {
    return Error("dvdcli does not speak protocol 1: install it and its isolator from one release");
  }
  const auto pending = object.get().values.find("pending");
  if (pending != object.get().values.end() && pending->second.is<JSON::Array>()) {
    for (const JSON::Value& line : pending->second.as<JSON::Array>().values) {
      LOG(WARNING) << "dvdcli: to be finished later: " << stringify(line);
    }
  }
  return object.get();
}


// Returns the fields of the answer that a call had; logs what dvdcli had to say besides.
inline Try<JSON::Object> heard(const Outcome& outcome)
{
  for (const std::string& line : outcome.warnings) {
    LOG(WARNING) << "dvdcli: " << line;
  }
  return outcome.ok ? opened(outcome.text) : Try<JSON::Object>(Error(outcome.text));
}


// Returns the launch message in an answer, None where there is nothing to do.
template <typename Launch>
Try<Option<Launch>> launch(const Outcome& outcome)
{
  const Try<JSON::Object> object = heard(outcome);
  if (object.isError()) {
    return Error(object.error());
  }
  const auto message = object.get().values.find("launch");
  if (message == object.get().values.end()) {
    return Option<Launch>::none();
  }
  if (!message->second.is<JSON::Object>()) {
    return Error("dvdcli's launch message is no JSON object");
  }
  const std::string error = misfit(Launch::descriptor(), message->second.as<JSON::Object>());
  if (!error.empty()) {
    return Error("dvdcli's launch message: " + error);
  }
  const Try<Launch> parsed = ::protobuf::parse<Launch>(message->second);
  if (parsed.isError()) {
    return Error("dvdcli's launch message: " + parsed.error());
  }
  if (!parsed.get().IsInitialized()) {
    return Error("dvdcli's launch message lacks " + parsed.get().InitializationErrorString());
  }
  return Option<Launch>(parsed.get());
}


// In each of these the future is a promise's: a discard does not lose what the
// running call has done.

template <typename Launch>
process::Future<Option<Launch>> prepare(
    const Settings& settings, const mesos::ContainerID& id, const std::string& fields)
{
  std::string request = envelope(settings) + ",\"container_id\":" + idList(id);
  if (!settings.timeout.empty()) {
    request += ",\"timeout\":" + settings.timeout;
  }
  if (!settings.sandboxDirectory.empty()) {
    request += ",\"sandbox_directory\":" + quote(settings.sandboxDirectory);
  }
  if (settings.dockerVolumes) {
    request += ",\"docker_volumes\":true";
  }
  const int seconds = (settings.timeout.empty() ? 100 : std::stoi(settings.timeout)) + 20;
  const std::shared_ptr<process::Promise<Option<Launch>>> promise(new process::Promise<Option<Launch>>());
  run({settings.dvdcli, "mount", request + fields + "}", seconds}, [promise](const Outcome& outcome) {
    const Try<Option<Launch>> result = launch<Launch>(outcome);
    if (result.isError()) {
      promise->fail(result.error());
    } else {
      promise->set(result.get());
    }
  });
  return promise->future();
}


inline process::Future<Nothing> cleanup(const Settings& settings, const mesos::ContainerID& id)
{
  const std::string request = envelope(settings) + ",\"container_id\":" + idList(id) + "}";
  const std::shared_ptr<process::Promise<Nothing>> promise(new process::Promise<Nothing>());
  run({settings.dvdcli, "unmount", request, 600}, [promise](const Outcome& outcome) {
    const Try<JSON::Object> result = heard(outcome);
    if (result.isError()) {
      promise->fail(result.error());
    } else {
      promise->set(Nothing());
    }
  });
  return promise->future();
}


// A failure would end the agent. Without an answer all holds stay, so nothing
// that runs loses its volume, and the next recover does the rest.
inline process::Future<Nothing> recover(
    const Settings& settings, const std::string& containers, const std::string& orphans)
{
  const std::string request = envelope(settings) + ",\"containers\":" + containers + ",\"orphans\":" + orphans + "}";
  const std::shared_ptr<process::Promise<Nothing>> promise(new process::Promise<Nothing>());
  run({settings.dvdcli, "recover", request, 45}, [promise](const Outcome& outcome) {
    const Try<JSON::Object> result = heard(outcome);
    if (result.isError()) {
      LOG(ERROR) << "dvdcli could not recover, and every volume stays as it is: " << result.error();
    }
    promise->set(Nothing());
  });
  return promise->future();
}

} // namespace dvdcli {
