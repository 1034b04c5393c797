package stacks

import (
	"errors"
	"regexp"
	"strconv"
)

// machine is what a node of a type offers to pods.
type machine struct {
	cpu    CPU
	memory Memory
}

var machineType = regexp.MustCompile(`^(?:e2|n2|n2d)-(standard|highmem|highcpu)-(\d{1,3})$`)

// allocatable is what GKE leaves to pods on a node of the type, by its published reservations.
func allocatable(name string) (machine, error) {
	match := machineType.FindStringSubmatch(name)
	if match == nil {
		return machine{}, errors.New("is not a known machine type: use e2, n2 or n2d, standard, highmem or highcpu, like e2-standard-4")
	}
	cores, err := strconv.Atoi(match[2])
	if err != nil || cores < 2 {
		return machine{}, errors.New("must have at least 2 cores")
	}
	perCore := map[string]Memory{"standard": 4 * GiB, "highmem": 8 * GiB, "highcpu": GiB}[match[1]]
	total := Memory(cores) * perCore
	return machine{
		cpu:    CPU(cores)*Core - reserved(CPU(cores)*Core, cpuReservations)/100,
		memory: total - reserved(total, memoryReservations)/100 - evictionThreshold,
	}, nil
}

// Cores is the number of cores of a node; 0 where its type is not known.
func (c Cluster) Cores() int {
	match := machineType.FindStringSubmatch(c.MachineType)
	if match == nil {
		return 0
	}
	cores, err := strconv.Atoi(match[2])
	if err != nil {
		return 0
	}
	return cores
}

// evictionThreshold is the memory that the kubelet keeps free by evicting pods.
const evictionThreshold = 100 * MiB

// reservation takes hundredths of a percent of each slice of a resource; the last slice has no end.
type reservation[T ~int64] struct{ slice, hundredths T }

var (
	memoryReservations = []reservation[Memory]{{4 * GiB, 2500}, {4 * GiB, 2000}, {8 * GiB, 1000}, {112 * GiB, 600}, {0, 200}}
	cpuReservations    = []reservation[CPU]{{Core, 600}, {Core, 100}, {2 * Core, 50}, {0, 25}}
)

// reserved sums the slices' shares of total, in hundredths.
func reserved[T ~int64](total T, slices []reservation[T]) T {
	var sum T
	for _, r := range slices {
		part := total
		if r.slice != 0 {
			part = min(part, r.slice)
		}
		sum += part / 100 * r.hundredths
		total -= part
	}
	return sum
}

// besides is what one pod each of frontend, API v2, backup, exporter and operator request.
func (s *Settings) besides() machine {
	sum := machine{}
	for _, one := range []struct {
		there  bool
		cpu    CPU
		memory Memory
	}{
		{s.Frontend.Image != "", 100, 128 * MiB},
		{s.Legacy.Image != "", 200, 256 * MiB},
		{s.Backup.AccessID != "", 100, 256 * MiB},
		{s.Database.ExporterImage != "", 50, 64 * MiB},
		{s.ScalesByRequests(), 50, 128 * MiB},
		{s.Operated(), 100, 512 * MiB},
	} {
		if one.there {
			sum.cpu, sum.memory = sum.cpu+one.cpu, sum.memory+one.memory
		}
	}
	return sum
}
