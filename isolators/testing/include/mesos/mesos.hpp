#pragma once

#include <mesos/mesos.pb.h>
