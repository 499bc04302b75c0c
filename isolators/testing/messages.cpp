// The way of the agent's double from messages to JSON, and back.

#include <google/protobuf/descriptor.h>

#include <stout/json.hpp>
#include <stout/protobuf.hpp>

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using std::string;

namespace JSON {
namespace {

string base64(const string& data)
{
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  string out;
  for (size_t i = 0; i < data.size(); i += 3) {
    unsigned chunk = 0;
    for (size_t j = 0; j < 3; ++j) {
      chunk = chunk << 8 | (i + j < data.size() ? static_cast<unsigned char>(data[i + j]) : 0);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += i + j > data.size() ? '=' : digits[chunk >> (18 - 6 * j) & 63];
    }
  }
  return out;
}


Value fromField(const Message& message, const FieldDescriptor* field, int index)
{
  const Reflection* reflection = message.GetReflection();
  const bool many = field->is_repeated();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return fromMessage(many ? reflection->GetRepeatedMessage(message, field, index) : reflection->GetMessage(message, field));
    case FieldDescriptor::CPPTYPE_STRING: {
      const string text = many ? reflection->GetRepeatedString(message, field, index) : reflection->GetString(message, field);
      const bool encoded = field->type() == FieldDescriptor::TYPE_BYTES && !DOUBLE_RAW_BYTES;
      return String{encoded ? base64(text) : text};
    }
    case FieldDescriptor::CPPTYPE_ENUM:
      return String{(many ? reflection->GetRepeatedEnum(message, field, index) : reflection->GetEnum(message, field))->name()};
    case FieldDescriptor::CPPTYPE_BOOL:
      return Boolean{many ? reflection->GetRepeatedBool(message, field, index) : reflection->GetBool(message, field)};
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Number{many ? reflection->GetRepeatedDouble(message, field, index) : reflection->GetDouble(message, field)};
    case FieldDescriptor::CPPTYPE_INT32:
      return Number{double(many ? reflection->GetRepeatedInt32(message, field, index) : reflection->GetInt32(message, field))};
    case FieldDescriptor::CPPTYPE_UINT32:
      return Number{double(many ? reflection->GetRepeatedUInt32(message, field, index) : reflection->GetUInt32(message, field))};
    default:
      return Number{double(many ? reflection->GetRepeatedUInt64(message, field, index) : reflection->GetUInt64(message, field))};
  }
}

} // namespace {


// As the real one: fields that are set, and defaults of those that have one.
Object fromMessage(const Message& message)
{
  Object object;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const Reflection* reflection = message.GetReflection();
    if (field->is_repeated()) {
      const int size = reflection->FieldSize(message, field);
      Array array;
      for (int index = 0; index < size; ++index) {
        array.values.push_back(fromField(message, field, index));
      }
      if (size > 0) {
        object.values[field->name()] = array;
      }
    } else if (reflection->HasField(message, field) || field->has_default_value()) {
      object.values[field->name()] = fromField(message, field, 0);
    }
  }
  return object;
}

} // namespace JSON {


namespace protobuf {
namespace {

Try<Nothing> put(Message* message, const FieldDescriptor* field, const JSON::Value& value)
{
  const Reflection* reflection = message->GetReflection();
  const bool many = field->is_repeated();
  if (value.is<JSON::Null>()) {
    return DOUBLE_NULL_IS_AN_ERROR ? Try<Nothing>(Error("Not expecting a JSON null")) : Try<Nothing>(Nothing());
  }
  if (value.is<JSON::Array>()) {
    if (!many) {
      return Error("Not expecting a JSON array for field '" + field->name() + "'");
    }
    for (const JSON::Value& each : value.as<JSON::Array>().values) {
      const Try<Nothing> result = put(message, field, each);
      if (result.isError()) {
        return result;
      }
    }
    return Nothing();
  }
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      if (!value.is<JSON::Object>()) {
        return Error("Expecting a JSON object for field '" + field->name() + "'");
      }
      Message* inner = many ? reflection->AddMessage(message, field) : reflection->MutableMessage(message, field);
      const Try<Nothing> result = fill(inner, value.as<JSON::Object>());
      return DOUBLE_SWALLOWS_NESTED_ERRORS ? Try<Nothing>(Nothing()) : result;
    }
    case FieldDescriptor::CPPTYPE_STRING:
      if (!value.is<JSON::String>()) {
        return Error("Not expecting this for the text '" + field->name() + "'");
      }
      many ? reflection->AddString(message, field, value.string.value) : reflection->SetString(message, field, value.string.value);
      return Nothing();
    case FieldDescriptor::CPPTYPE_ENUM: {
      const EnumValueDescriptor* found = field->enum_type()->FindValueByName(value.string.value);
      if (!value.is<JSON::String>() || found == nullptr) {
        return Error("Failed to find enum for '" + value.string.value + "'");
      }
      many ? reflection->AddEnum(message, field, found) : reflection->SetEnum(message, field, found);
      return Nothing();
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      if (!value.is<JSON::Boolean>()) {
        return Error("Not expecting this for the boolean '" + field->name() + "'");
      }
      many ? reflection->AddBool(message, field, value.boolean.value) : reflection->SetBool(message, field, value.boolean.value);
      return Nothing();
    default: {
      if (!value.is<JSON::Number>()) {
        return Error("Not expecting this for the number '" + field->name() + "'");
      }
      const double number = value.number.value;
      switch (field->cpp_type()) {
        case FieldDescriptor::CPPTYPE_DOUBLE:
          many ? reflection->AddDouble(message, field, number) : reflection->SetDouble(message, field, number);
          break;
        case FieldDescriptor::CPPTYPE_INT32:
          many ? reflection->AddInt32(message, field, number) : reflection->SetInt32(message, field, number);
          break;
        case FieldDescriptor::CPPTYPE_UINT32: {
          const uint32_t wrapped = static_cast<uint32_t>(static_cast<int64_t>(number));
          many ? reflection->AddUInt32(message, field, wrapped) : reflection->SetUInt32(message, field, wrapped);
          break;
        }
        default:
          many ? reflection->AddUInt64(message, field, number) : reflection->SetUInt64(message, field, number);
      }
      return Nothing();
    }
  }
}

} // namespace {


Try<Nothing> fill(Message* message, const JSON::Object& object)
{
  for (const auto& entry : object.values) {
    const FieldDescriptor* field = message->GetDescriptor()->FindFieldByName(entry.first);
    if (field == nullptr) {
      continue;
    }
    const Try<Nothing> result = put(message, field, entry.second);
    if (result.isError()) {
      return result;
    }
  }
  return Nothing();
}

} // namespace protobuf {
