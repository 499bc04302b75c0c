#pragma once

namespace mesos {

class Resources {};

} // namespace mesos {
