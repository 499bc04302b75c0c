// A double of stout's JSON, as strict as the release that double/dialect.hpp says.

#pragma once

#include <map>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <google/protobuf/message.h>

#include <stout/try.hpp>

#include <double/dialect.hpp>

namespace JSON {

struct Value;

struct Null {};
struct Boolean { bool value; };
struct Number { double value; };
struct String { std::string value; };
struct Array { std::vector<Value> values; };
struct Object { std::map<std::string, Value> values; };

enum class Kind { NIL, BOOLEAN, NUMBER, STRING, ARRAY, OBJECT };

struct Value
{
  Value() : kind(Kind::NIL) {}
  Value(const Null&) : kind(Kind::NIL) {}
  Value(const Boolean& v) : kind(Kind::BOOLEAN), boolean(v) {}
  Value(const Number& v) : kind(Kind::NUMBER), number(v) {}
  Value(const String& v) : kind(Kind::STRING), string(v) {}
  Value(const Array& v) : kind(Kind::ARRAY), array(std::make_shared<Array>(v)) {}
  Value(const Object& v) : kind(Kind::OBJECT), object(std::make_shared<Object>(v)) {}

  template <typename T> bool is() const;
  template <typename T> T as() const;

  Kind kind;
  Boolean boolean{false};
  Number number{0};
  String string;
  std::shared_ptr<Array> array;
  std::shared_ptr<Object> object;
};

template <> inline bool Value::is<Null>() const { return kind == Kind::NIL; }
template <> inline bool Value::is<Boolean>() const { return kind == Kind::BOOLEAN; }
template <> inline bool Value::is<Number>() const { return kind == Kind::NUMBER; }
template <> inline bool Value::is<String>() const { return kind == Kind::STRING; }
template <> inline bool Value::is<Array>() const { return kind == Kind::ARRAY; }
template <> inline bool Value::is<Object>() const { return kind == Kind::OBJECT; }
template <> inline Boolean Value::as<Boolean>() const { return boolean; }
template <> inline Number Value::as<Number>() const { return number; }
template <> inline String Value::as<String>() const { return string; }
template <> inline Array Value::as<Array>() const { return *array; }
template <> inline Object Value::as<Object>() const { return *object; }

// Defined by the agent's double, as libmesos defines the real ones.
void print(std::ostream& out, const Value& value);
Try<Value> read(const std::string& text);
Object fromMessage(const google::protobuf::Message& message);

inline std::ostream& operator<<(std::ostream& out, const Value& value) { print(out, value); return out; }
inline std::ostream& operator<<(std::ostream& out, const Object& value) { print(out, Value(value)); return out; }

template <typename T>
Try<T> parse(const std::string& text)
{
  const Try<Value> value = read(text);
  if (value.isError()) {
    return Error(value.error());
  }
  if (!value.get().is<T>()) {
    return Error("Unexpected JSON type parsed");
  }
  return value.get().as<T>();
}

#if DOUBLE_JSON_IS_A_CLASS
inline Object Protobuf(const google::protobuf::Message& message) { return fromMessage(message); }
#else
inline Object protobuf(const google::protobuf::Message& message) { return fromMessage(message); }
#endif

} // namespace JSON {
