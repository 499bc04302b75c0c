#pragma once

struct None {};
