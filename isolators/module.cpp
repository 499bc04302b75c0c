// The module: its two names, and its parameters.

#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <set>
#include <string>

#include "glue.hpp"

namespace dvdcli {
namespace {

// Takes one parameter, or says what is wrong with it.
std::string set(Settings* settings, const std::string& key, const std::string& value)
{
  if (key == "dvdcli") {
    struct stat status;
    if (value.empty() || value[0] != '/') {
      return "an absolute path is needed";
    }
    settings->dvdcli = value;
    if (::stat(value.c_str(), &status) != 0 || !S_ISREG(status.st_mode) || ::access(value.c_str(), X_OK) != 0) {
      return "there is no such program: install dvdcli there";
    }
  } else if (key == "agent") {
    const std::string allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    if (value.size() > 64 || value.find_first_not_of(allowed) != std::string::npos) {
      return "up to 64 letters, digits, dots and dashes are needed";
    }
    settings->agent = value;
  } else if (key == "timeout") {
    const bool digits = !value.empty() && value.size() < 5 && value.find_first_not_of("0123456789") == std::string::npos;
    if (!digits || value[0] == '0' || std::stoi(value) > 3600) {
      return "whole seconds from 1 to 3600 are needed";
    }
    settings->timeout = value;
  } else if (key == "sandbox_directory") {
    if (value.empty() || value[0] != '/') {
      return "an absolute path is needed, as in the agent's flag of that name";
    }
    settings->sandboxDirectory = value;
  } else if (key == "docker_volumes") {
    if (value != "true" && value != "false") {
      return "true or false is needed";
    }
    settings->dockerVolumes = value == "true";
  } else if (key == "work_dir" || key == "isolator_command") {
    LOG(WARNING) << "dvdcli's isolator needs no parameter '" << key << "': it is ignored";
  } else {
    return "there is no such parameter; the known ones: agent, docker_volumes, dvdcli, sandbox_directory, timeout";
  }
  return "";
}


mesos::slave::Isolator* create(const mesos::Parameters& parameters)
{
  // An agent that lists both names would have every volume handled twice.
  static bool created = false;

  Settings settings;
  std::map<std::string, std::string> given = {{"dvdcli", settings.dvdcli}};
  std::set<std::string> seen;
  for (const mesos::Parameter& parameter : parameters.parameter()) {
    if (!seen.insert(parameter.key()).second) {
      LOG(ERROR) << "dvdcli's isolator has the parameter '" << parameter.key() << "' twice: give it once";
      return nullptr;
    }
    given[parameter.key()] = parameter.value();
  }
  for (const auto& each : given) {
    const std::string reason = set(&settings, each.first, each.second);
    if (!reason.empty()) {
      LOG(ERROR) << "dvdcli's isolator cannot have the parameter '" << each.first << "' = '" << each.second << "': "
                 << reason;
      return nullptr;
    }
  }
  if (created) {
    LOG(ERROR) << "dvdcli's isolator is in --isolation a second time: leave one of its names out";
    return nullptr;
  }
  created = true;
  return make(settings);
}

} // namespace {
} // namespace dvdcli {

// The name of a module is the name of the variable: these two are seen outside,
// and nothing else (exported.map).

__attribute__((visibility("default")))
mesos::modules::Module<mesos::slave::Isolator> org_dvdcli_mesos_VolumeIsolator(
    MESOS_MODULE_API_VERSION, MESOS_VERSION, "dvdcli", "", "External volumes, by dvdcli", nullptr, dvdcli::create);

// The name of mesos-module-dvdi: the flags of agents that had it keep working.
__attribute__((visibility("default")))
mesos::modules::Module<mesos::slave::Isolator> com_emccode_mesos_DockerVolumeDriverIsolator(
    MESOS_MODULE_API_VERSION, MESOS_VERSION, "dvdcli", "", "External volumes, by dvdcli", nullptr, dvdcli::create);
