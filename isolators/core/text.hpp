// What a program says and is told, without a JSON library.

#pragma once

#include <string>
#include <vector>

namespace dvdcli {

// Returns the lines of `text` that are not empty, cut and without control characters.
std::vector<std::string> linesOf(const std::string& text);

// Tells whether `text` is, from its first byte to its last, something in braces
// that is nested no deeper than a launch message ever is. The parsers of old
// releases take what comes after it, and all of them use the stack.
bool looksLikeObject(const std::string& text);

// Returns `text` as a JSON string. Bytes that are no ASCII stay as they are.
std::string quote(const std::string& text);

} // namespace dvdcli {
