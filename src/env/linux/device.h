#pragma once
#include <sys/types.h>

#include "base/types.h"

// What Linux tells about the device behind a file.
namespace pangu::env {

// False only if the kernel says that the device has no volatile write cache ("write through").
bool has_volatile_cache(dev_t device);
// The alignment that unbuffered transfers of this file need.
u32 direct_alignment(int fd);
// The process that holds the flock of the file {device, inode}, or 0 if that cannot be told.
i32 lock_holder(dev_t device, ino_t inode);

}  // namespace pangu::env
