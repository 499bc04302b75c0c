#pragma once

#include <functional>
#include <string>

#include <mesos/mesos.hpp>

namespace mesos {

inline bool operator==(const ContainerID& left, const ContainerID& right)
{
  return left.SerializeAsString() == right.SerializeAsString();
}

} // namespace mesos {

namespace std {

template <>
struct hash<mesos::ContainerID>
{
  size_t operator()(const mesos::ContainerID& id) const { return hash<string>()(id.SerializeAsString()); }
};

} // namespace std {
