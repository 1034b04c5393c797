package stacks

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Memory is an amount of memory or storage in bytes, written as "512Mi" or "4Gi".
type Memory int64

// Units of [Memory].
const (
	MiB Memory = 1 << 20
	GiB Memory = 1 << 30
	TiB Memory = 1 << 40
)

var memoryUnits = []struct {
	suffix string
	size   Memory
}{{"Ti", TiB}, {"Gi", GiB}, {"Mi", MiB}}

// String writes m in the largest unit that divides it, as Kubernetes reads it.
func (m Memory) String() string {
	for _, u := range memoryUnits {
		if m != 0 && m%u.size == 0 {
			return strconv.FormatInt(int64(m/u.size), 10) + u.suffix
		}
	}
	return strconv.FormatInt(int64(m), 10)
}

func parseMemory(s string) (Memory, error) {
	for _, u := range memoryUnits {
		digits, ok := strings.CutSuffix(s, u.suffix)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/int64(u.size) {
			break
		}
		return Memory(n) * u.size, nil
	}
	return 0, errors.New(`must be a whole number of Mi, Gi or Ti, like "512Mi"`)
}

// CPU is an amount of processor time in thousandths of a core, written as "200m" or "2".
type CPU int64

// Core is one core.
const Core CPU = 1000

// String writes c as Kubernetes reads it.
func (c CPU) String() string {
	if c%Core == 0 {
		return strconv.FormatInt(int64(c/Core), 10)
	}
	return fmt.Sprintf("%dm", int64(c))
}

func parseCPU(s string) (CPU, error) {
	unit := Core
	digits, milli := strings.CutSuffix(s, "m")
	if milli {
		unit = 1
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n < 0 {
		return 0, errors.New(`must be cores or thousandths of one, like "2" or "200m"`)
	}
	return CPU(n) * unit, nil
}
