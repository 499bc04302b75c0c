// Mesos 0.24 and 0.25: JSON is made in another way, and 0.24 asks once for the whole agent's namespaces.

#include <sched.h>

#include <list>

#include "glue.hpp"

using std::list;
using std::string;
using std::vector;

using mesos::ContainerID;
using mesos::ExecutorInfo;
using mesos::ResourceStatistics;
using mesos::Resources;
using mesos::slave::ContainerLimitation;
using mesos::slave::ContainerPrepareInfo;
using mesos::slave::ContainerState;
using mesos::slave::Isolator;

using process::Future;

namespace {

class VolumeIsolator : public Isolator
{
public:
  explicit VolumeIsolator(const dvdcli::Settings& _settings) : settings(_settings) {}

  Future<Option<int>> namespaces() { return CLONE_NEWNS; }

  Future<Nothing> recover(const list<ContainerState>& states, const hashset<ContainerID>& orphans) override
  {
    vector<ContainerID> containers;
    for (const ContainerState& state : states) {
      containers.push_back(state.container_id());
    }
    return dvdcli::recover(settings, dvdcli::idLists(containers), dvdcli::idLists(orphans));
  }

  Future<Option<ContainerPrepareInfo>> prepare(
      const ContainerID& id, const ExecutorInfo& executor, const string& directory, const Option<string>& user) override
  {
    string fields = ",\"executor_info\":" + stringify(JSON::Protobuf(dvdcli::stripped(executor)));
    fields += ",\"directory\":" + dvdcli::quote(directory);
    if (user.isSome()) {
      fields += ",\"user\":" + dvdcli::quote(user.get());
    }
    return dvdcli::prepare<ContainerPrepareInfo>(settings, id, fields);
  }

  Future<Nothing> cleanup(const ContainerID& id) override
  {
    return dvdcli::cleanup(settings, id);
  }

  Future<Nothing> isolate(const ContainerID&, pid_t) override { return Nothing(); }
  Future<ContainerLimitation> watch(const ContainerID&) override { return Future<ContainerLimitation>(); }
  Future<ResourceStatistics> usage(const ContainerID&) override { return ResourceStatistics(); }
  Future<Nothing> update(const ContainerID&, const Resources&) override { return Nothing(); }

private:
  const dvdcli::Settings settings;
};

} // namespace {

Isolator* dvdcli::make(const Settings& settings)
{
  return new VolumeIsolator(settings);
}
