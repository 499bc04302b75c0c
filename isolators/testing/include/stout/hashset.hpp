#pragma once

#include <unordered_set>

template <typename T>
class hashset : public std::unordered_set<T> {};
