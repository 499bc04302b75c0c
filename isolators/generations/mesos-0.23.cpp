// Mesos 0.23: an isolator is a process, and prepares one command.

#include <sched.h>

#include <list>

#include <process/owned.hpp>
#include <process/process.hpp>

#include "glue.hpp"

using std::list;
using std::string;
using std::vector;

using mesos::CommandInfo;
using mesos::ContainerID;
using mesos::ExecutorInfo;
using mesos::ResourceStatistics;
using mesos::Resources;
using mesos::slave::ExecutorRunState;
using mesos::slave::Isolator;
using mesos::slave::IsolatorProcess;
using mesos::slave::Limitation;

using process::Future;
using process::Owned;

namespace {

class VolumeIsolator : public IsolatorProcess
{
public:
  explicit VolumeIsolator(const dvdcli::Settings& _settings) : settings(_settings) {}

  Future<Option<int>> namespaces() { return CLONE_NEWNS; }

  Future<Nothing> recover(const list<ExecutorRunState>& states, const hashset<ContainerID>& orphans) override
  {
    vector<ContainerID> containers;
    for (const ExecutorRunState& state : states) {
      containers.push_back(state.id);
    }
    return dvdcli::recover(settings, dvdcli::idLists(containers), dvdcli::idLists(orphans));
  }

  Future<Option<CommandInfo>> prepare(
      const ContainerID& id, const ExecutorInfo& executor, const string& directory,
      const Option<string>& rootfs, const Option<string>& user) override
  {
    string fields = ",\"executor_info\":" + stringify(JSON::Protobuf(dvdcli::stripped(executor)));
    fields += ",\"directory\":" + dvdcli::quote(directory);
    if (rootfs.isSome()) {
      fields += ",\"rootfs\":" + dvdcli::quote(rootfs.get());
    }
    if (user.isSome()) {
      fields += ",\"user\":" + dvdcli::quote(user.get());
    }
    return dvdcli::prepare<CommandInfo>(settings, id, fields);
  }

  Future<Nothing> cleanup(const ContainerID& id) override
  {
    return dvdcli::cleanup(settings, id);
  }

  Future<Nothing> isolate(const ContainerID&, pid_t) override { return Nothing(); }
  Future<Limitation> watch(const ContainerID&) override { return Future<Limitation>(); }
  Future<ResourceStatistics> usage(const ContainerID&) override { return ResourceStatistics(); }
  Future<Nothing> update(const ContainerID&, const Resources&) override { return Nothing(); }

private:
  const dvdcli::Settings settings;
};

} // namespace {

Isolator* dvdcli::make(const Settings& settings)
{
  return new Isolator(Owned<IsolatorProcess>(new VolumeIsolator(settings)));
}
