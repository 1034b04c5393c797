package local

import (
	"strconv"

	"coditect.ai/platform/stacks"
)

// The settings that say which release each slot holds. In an environment of
// the cloud they are committed in its stack file; here an image has a digest
// that this machine alone knows, so the engine's workspace keeps them.
var (
	imageKeys  = map[stacks.Slot]string{stacks.Blue: "serviceImageBlue", stacks.Green: "serviceImageGreen"}
	weightKeys = map[stacks.Slot]string{stacks.Blue: "gatewayWeightBlue", stacks.Green: "gatewayWeightGreen"}
)

// active is the slot that has most of the traffic.
func active(get func(key string) string) stacks.Slot {
	weight := func(slot stacks.Slot) int {
		percent, err := strconv.Atoi(get(weightKeys[slot]))
		if err != nil {
			return 0 // not set yet
		}
		return percent
	}
	if weight(stacks.Green) > weight(stacks.Blue) {
		return stacks.Green
	}
	return stacks.Blue
}

// keepRelease leaves what each slot holds as it is.
func keepRelease(get func(string) string, set func(key, value string)) {
	for _, slot := range stacks.Slots() {
		for _, key := range []string{imageKeys[slot], weightKeys[slot]} {
			if value := get(key); value != "" {
				set(key, value)
			}
		}
	}
}

// deploy puts image into the slot that has the traffic and leaves the rest as it is.
func deploy(image string) release {
	return func(get func(string) string, set func(key, value string)) {
		keepRelease(get, set)
		set(imageKeys[active(get)], image)
	}
}
