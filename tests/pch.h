#pragma once
// The precompiled header of every test binary.
#include "base/pch.h"

#include <gtest/gtest.h>
