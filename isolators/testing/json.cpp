// The JSON of the agent's double: reading, printing, and the way to and from messages.

#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <google/protobuf/descriptor.h>

#include <stout/json.hpp>
#include <stout/protobuf.hpp>
#include <stout/stringify.hpp>

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using std::string;
using std::vector;

namespace JSON {
namespace {

class Reader
{
public:
  explicit Reader(const string& _text) : text(_text) {}

  Try<Value> whole()
  {
    Value value;
    if (!read(&value)) {
      return Error("syntax error at " + std::to_string(at));
    }
    space();
    if (at != text.size() && !DOUBLE_TAKES_WHAT_FOLLOWS) {
      return Error("Parsed JSON included non-whitespace after the end");
    }
    return value;
  }

private:
  void space() { while (at < text.size() && isspace(static_cast<unsigned char>(text[at]))) { ++at; } }
  bool next(char c) { space(); return at < text.size() && text[at] == c && ++at; }

  bool word(const char* expected)
  {
    const string whole = expected;
    return text.compare(at, whole.size(), whole) == 0 && (at += whole.size());
  }

  bool read(Value* value)
  {
    space();
    if (at >= text.size()) {
      return false;
    }
    string read;
    switch (text[at]) {
      case '{': return object(value);
      case '[': return array(value);
      case '"': return quoted(&read) && (*value = Value(String{read}), true);
      case 't': return word("true") && (*value = Value(Boolean{true}), true);
      case 'f': return word("false") && (*value = Value(Boolean{false}), true);
      case 'n': return word("null") && (*value = Value(Null()), true);
      default: return number(value);
    }
  }

  bool object(Value* value)
  {
    Object object;
    ++at;
    if (!next('}')) {
      do {
        string key;
        space();
        Value member;
        if (!quoted(&key) || !next(':') || !read(&member)) {
          return false;
        }
        object.values[key] = member;
      } while (next(','));
      if (!next('}')) {
        return false;
      }
    }
    *value = Value(object);
    return true;
  }

  bool array(Value* value)
  {
    Array array;
    ++at;
    if (!next(']')) {
      do {
        array.values.push_back(Value());
        if (!read(&array.values.back())) {
          return false;
        }
      } while (next(','));
      if (!next(']')) {
        return false;
      }
    }
    *value = Value(array);
    return true;
  }

  bool number(Value* value)
  {
    const char* start = text.c_str() + at;
    char* end = nullptr;
    const double number = strtod(start, &end);
    if (end == start || (*start != '-' && !isdigit(static_cast<unsigned char>(*start)))) {
      return false;
    }
    at += end - start;
    *value = Value(Number{number});
    return true;
  }

  bool quoted(string* value)
  {
    if (at >= text.size() || text[at] != '"') {
      return false;
    }
    for (++at; at < text.size() && text[at] != '"'; ++at) {
      if (static_cast<unsigned char>(text[at]) < 0x20) {
        return false;
      }
      if (text[at] != '\\') {
        *value += text[at];
        continue;
      }
      static const string escapes = "\"\\/bfnrt", means = "\"\\/\b\f\n\r\t";
      const size_t index = ++at < text.size() ? escapes.find(text[at]) : string::npos;
      if (index != string::npos) {
        *value += means[index];
      } else if (at >= text.size() || text[at] != 'u' || !unicode(value)) {
        return false;
      }
    }
    return at < text.size() && ++at;
  }

  bool hex(unsigned* code)
  {
    char* end = nullptr;
    const string digits = text.substr(at + 1, 4);
    *code = strtoul(digits.c_str(), &end, 16);
    at += 4;
    return digits.size() == 4 && *end == '\0';
  }

  bool unicode(string* value)
  {
    unsigned code;
    if (!hex(&code)) {
      return false;
    }
    if (code >= 0xD800 && code < 0xDC00) {
      unsigned low;
      if (text.compare(at + 1, 2, "\\u") != 0 || (at += 2, !hex(&low)) || low < 0xDC00 || low > 0xDFFF) {
        return false;
      }
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code < 0xE000) {
      return false;
    }
    if (code < 0x80) {
      *value += static_cast<char>(code);
    } else if (code < 0x800) {
      *value += static_cast<char>(0xC0 | code >> 6);
      *value += static_cast<char>(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
      *value += static_cast<char>(0xE0 | code >> 12);
      *value += static_cast<char>(0x80 | (code >> 6 & 0x3F));
      *value += static_cast<char>(0x80 | (code & 0x3F));
    } else {
      *value += static_cast<char>(0xF0 | code >> 18);
      *value += static_cast<char>(0x80 | (code >> 12 & 0x3F));
      *value += static_cast<char>(0x80 | (code >> 6 & 0x3F));
      *value += static_cast<char>(0x80 | (code & 0x3F));
    }
    return true;
  }

  const string& text;
  size_t at = 0;
};


void printString(std::ostream& out, const string& text)
{
  out << '"';
  for (const char c : text) {
    const unsigned char byte = c;
    if (byte < 0x20 || (DOUBLE_MANGLES_TEXT && byte > 0x7E)) {
      char escaped[8];
      snprintf(escaped, sizeof(escaped), "\\u%04X", byte);
      out << escaped;
    } else {
      out << (c == '"' || c == '\\' || c == '/' ? "\\" : "") << c;
    }
  }
  out << '"';
}


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


Try<Value> read(const string& text) { return Reader(text).whole(); }


void print(std::ostream& out, const Value& value)
{
  switch (value.kind) {
    case Kind::NIL: out << "null"; break;
    case Kind::BOOLEAN: out << (value.boolean.value ? "true" : "false"); break;
    case Kind::STRING: printString(out, value.string.value); break;
    case Kind::NUMBER: {
      char text[32];
      snprintf(text, sizeof(text), "%.15g", value.number.value);
      out << text;
      break;
    }
    case Kind::ARRAY: {
      const char* before = "";
      out << "[";
      for (const Value& each : value.array->values) {
        out << before;
        print(out, each);
        before = ",";
      }
      out << "]";
      break;
    }
    case Kind::OBJECT: {
      const char* before = "";
      out << "{";
      for (const auto& each : value.object->values) {
        out << before;
        printString(out, each.first);
        out << ":";
        print(out, each.second);
        before = ",";
      }
      out << "}";
    }
  }
}


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
