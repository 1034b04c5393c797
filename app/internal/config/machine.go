package config

import (
	"math"
	"os"
	"strconv"
	"strings"
)

// memoryFloor is what the process takes with nobody hashing a password.
const memoryFloor = 64 << 20

// autoHashSlots is one slot a core, as hashing is bound by the processor, and
// no more hashes than fit into half of the memory above the floor, so that the
// rest of the service has room when every slot is taken.
func autoHashSlots(cores int, memory, hash int64) int {
	fit := (memory - memoryFloor) / 2 / hash
	return int(max(1, min(int64(cores), fit, 64)))
}

// memoryLimit is the control group's limit in bytes, version 2 or 1, and the
// largest number where there is none.
func memoryLimit() int64 {
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
			return n
		}
	}
	return math.MaxInt64
}
