// The JSON of the agent's double: reading and printing.

#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <stout/json.hpp>

using std::string;

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


} // namespace JSON {
