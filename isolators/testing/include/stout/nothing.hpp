#pragma once

struct Nothing {};
