// Mesos 0.27 to 1.6: prepare() has a ContainerConfig.

#include <list>

#include "glue.hpp"

using std::list;
using std::string;
using std::vector;

using mesos::ContainerID;
using mesos::ResourceStatistics;
using mesos::Resources;
using mesos::slave::ContainerConfig;
using mesos::slave::ContainerLaunchInfo;
using mesos::slave::ContainerLimitation;
using mesos::slave::ContainerState;
using mesos::slave::Isolator;

using process::Future;

namespace {

class VolumeIsolator : public Isolator
{
public:
  explicit VolumeIsolator(const dvdcli::Settings& _settings) : settings(_settings) {}

  bool supportsNesting() { return true; }
  bool supportsStandalone() { return true; }

  Future<Nothing> recover(const list<ContainerState>& states, const hashset<ContainerID>& orphans) override
  {
    vector<ContainerID> containers;
    for (const ContainerState& state : states) {
      containers.push_back(state.container_id());
    }
    return dvdcli::recover(settings, dvdcli::idLists(containers), dvdcli::idLists(orphans));
  }

  Future<Option<ContainerLaunchInfo>> prepare(const ContainerID& id, const ContainerConfig& config) override
  {
    const string json = stringify(JSON::protobuf(dvdcli::stripped(config)));
    return dvdcli::prepare<ContainerLaunchInfo>(settings, id, ",\"container_config\":" + json);
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
