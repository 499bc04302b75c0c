// A small agent: loads the module as an agent does, and calls it as it is told.
//
//   agent LIBRARY NAME[,NAME…] PARAMETERS     PARAMETERS is a JSON object
//
// Each line on stdin is a call {"call": N, "do": …}; each line on stdout says
// how one ended: {"call": N, "state": "ready" | "failed" | …, "value"| "reason": …},
// and before that, at once, {"call": N, "blocked": ms} for how long the caller was held.

#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include <glog/logging.h>

#include <mesos/module/isolator.hpp>
#include <mesos/version.hpp>

#include <stout/protobuf.hpp>
#include <stout/stringify.hpp>

#include <double/dialect.hpp>

using mesos::ContainerID;
using mesos::slave::Isolator;
using process::Future;
using std::string;

#if DOUBLE_IS_A_PROCESS
typedef mesos::slave::IsolatorProcess Methods;
static Methods* methods(Isolator* isolator) { return isolator->process.get(); }
#else
typedef Isolator Methods;
static Methods* methods(Isolator* isolator) { return isolator; }
#endif

static std::mutex output;

google::LogMessage::~LogMessage()
{
  std::lock_guard<std::mutex> lock(output);
  std::cerr << severity << " " << text.str() << std::endl;
}


static void say(const JSON::Object& object)
{
  std::lock_guard<std::mutex> lock(output);
  std::cout << object << std::endl;
}


static JSON::Value told(const Nothing&) { return JSON::Object(); }
static JSON::Value told(const google::protobuf::Message& message) { return JSON::fromMessage(message); }
#if DOUBLE_HAS_NAMESPACES
static JSON::Value told(const int& number) { return JSON::Number{double(number)}; }
#endif
template <typename T>
static JSON::Value told(const Option<T>& option) { return option.isSome() ? told(option.get()) : JSON::Value(); }
#if DOUBLE_IS_A_PROCESS
static JSON::Value told(const mesos::slave::Limitation&) { return JSON::Object(); }
#endif


// What a test can do to a future later, by the number of its call.
static std::map<int, std::function<bool()>> discards;


template <typename T>
static void follow(int call, const std::chrono::steady_clock::time_point& start, Future<T> future)
{
  const std::chrono::duration<double, std::milli> blocked = std::chrono::steady_clock::now() - start;
  JSON::Object now;
  now.values["call"] = JSON::Number{double(call)};
  now.values["blocked"] = JSON::Number{blocked.count()};
  say(now);
  discards[call] = [future]() mutable { return future.discard(); };
  future.onAny([call](const Future<T>& ended) {
    JSON::Object object;
    object.values["call"] = JSON::Number{double(call)};
    object.values["state"] = JSON::String{ended.state()};
    if (ended.state() == "ready") {
      object.values["value"] = told(ended.get());
    } else {
      object.values["reason"] = JSON::String{ended.failure()};
    }
    say(object);
  });
}


static string text(const JSON::Object& object, const string& key)
{
  const auto found = object.values.find(key);
  return found == object.values.end() ? "" : found->second.as<JSON::String>().value;
}


template <typename T>
static T message(const JSON::Object& object, const string& key)
{
  const Try<T> parsed = protobuf::parse<T>(object.values.at(key));
  if (parsed.isError()) {
    std::cerr << "bad call: " << parsed.error() << std::endl;
    _exit(3);
  }
  return parsed.get();
}


static Option<string> maybe(const JSON::Object& object, const string& key)
{
  return object.values.count(key) ? Option<string>(text(object, key)) : Option<string>::none();
}


static std::vector<ContainerID> ids(const JSON::Object& object, const string& key)
{
  std::vector<ContainerID> found;
  for (const JSON::Value& each : object.values.at(key).as<JSON::Array>().values) {
    JSON::Object holder;
    holder.values["id"] = each;
    found.push_back(message<ContainerID>(holder, "id"));
  }
  return found;
}


static void recover(Methods* isolator, int call, const JSON::Object& line)
{
#if DOUBLE_IS_A_PROCESS
  DOUBLE_STATES<mesos::slave::ExecutorRunState> states;
  for (const ContainerID& id : ids(line, "containers")) {
    states.push_back({id, 1, "/sandbox"});
  }
#else
  DOUBLE_STATES<mesos::slave::ContainerState> states;
  for (const ContainerID& id : ids(line, "containers")) {
    states.push_back(mesos::slave::ContainerState());
    states.back().mutable_container_id()->CopyFrom(id);
  }
#endif
  hashset<ContainerID> orphans;
  for (const ContainerID& id : ids(line, "orphans")) {
    orphans.insert(id);
  }
  const auto start = std::chrono::steady_clock::now();
  follow(call, start, isolator->recover(states, orphans));
}


static void prepare(Methods* isolator, int call, const JSON::Object& line)
{
  const ContainerID id = message<ContainerID>(line, "id");
#if DOUBLE_HAS_CONFIG
  const auto config = message<mesos::slave::ContainerConfig>(line, "config");
  const auto start = std::chrono::steady_clock::now();
  follow(call, start, isolator->prepare(id, config));
#else
  const JSON::Object config = line.values.at("config").as<JSON::Object>();
  const auto executor = message<mesos::ExecutorInfo>(config, "executor_info");
  const auto start = std::chrono::steady_clock::now();
#if DOUBLE_IS_A_PROCESS
  follow(call, start, isolator->prepare(id, executor, text(config, "directory"), maybe(config, "rootfs"), maybe(config, "user")));
#else
  follow(call, start, isolator->prepare(id, executor, text(config, "directory"), maybe(config, "user")));
#endif
#endif
}


static void dispatch(Methods* isolator, int call, const JSON::Object& line)
{
  const string what = text(line, "do");
  if (what == "recover") {
    return recover(isolator, call, line);
  } else if (what == "prepare") {
    return prepare(isolator, call, line);
  } else if (what == "discard") {
    discards[static_cast<int>(line.values.at("of").number.value)]();
    return;
  }
  const auto start = std::chrono::steady_clock::now();
  if (what == "agent") {
    JSON::Object object;
    object.values["call"] = JSON::Number{double(call)};
#if DOUBLE_HAS_NAMESPACES
    object.values["namespaces"] = told(isolator->namespaces().get());
#endif
#if DOUBLE_HAS_NESTING
    object.values["nesting"] = JSON::Boolean{isolator->supportsNesting()};
#endif
#if DOUBLE_HAS_STANDALONE
    object.values["standalone"] = JSON::Boolean{isolator->supportsStandalone()};
#endif
    return say(object);
  }
  const ContainerID id = message<ContainerID>(line, "id");
  if (what == "cleanup") {
    follow(call, start, isolator->cleanup(id));
  } else if (what == "isolate") {
    follow(call, start, isolator->isolate(id, getpid()));
  } else if (what == "update") {
    follow(call, start, isolator->update(id, mesos::Resources()));
  } else if (what == "usage") {
    follow(call, start, isolator->usage(id));
  } else if (what == "watch") {
    follow(call, start, isolator->watch(id));
#if DOUBLE_HAS_STATUS
  } else if (what == "status") {
    follow(call, start, isolator->status(id));
#endif
  }
}


int main(int, char** argv)
{
  signal(SIGPIPE, SIG_IGN);  // as an agent does, and its children inherit
  void* library = dlopen(argv[1], RTLD_NOW);
  if (library == nullptr) {
    std::cerr << "Error loading module: " << dlerror() << std::endl;
    return 1;
  }
  mesos::Parameters parameters;
  const Try<JSON::Value> given = JSON::read(argv[3]);
  for (const JSON::Value& each : given.get().as<JSON::Array>().values) {
    mesos::Parameter* parameter = parameters.add_parameter();
    parameter->set_key(text(each.as<JSON::Object>(), "key"));
    parameter->set_value(text(each.as<JSON::Object>(), "value"));
  }
  Isolator* isolator = nullptr;
  std::stringstream names(argv[2]);
  for (string name; std::getline(names, name, ',');) {
    auto module = static_cast<mesos::modules::Module<Isolator>*>(dlsym(library, name.c_str()));
    if (module == nullptr) {
      std::cerr << "Error loading module '" << name << "': no such symbol" << std::endl;
      return 1;
    }
    if (string(module->moduleApiVersion) != "2" || string(module->kind) != "Isolator" ||
        string(module->mesosVersion) != MESOS_VERSION || module->authorName == nullptr ||
        module->authorEmail == nullptr || module->description == nullptr) {
      std::cerr << "Error verifying module '" << name << "'" << std::endl;
      return 1;
    }
    isolator = module->create(parameters);
    if (isolator == nullptr) {
      std::cerr << "Error creating Module instance for '" << name << "'" << std::endl;
      return 1;
    }
  }
  for (string line; std::getline(std::cin, line);) {
    const Try<JSON::Object> call = JSON::parse<JSON::Object>(line);
    if (call.isError()) {
      std::cerr << "bad call: " << call.error() << std::endl;
      return 3;
    }
    dispatch(methods(isolator), static_cast<int>(call.get().values.at("call").number.value), call.get());
  }
  _exit(0);
}
