// Package slots owns how a stack's configuration says what each slot of the
// service holds and how many requests it gets, and which resources of the stack
// a change of that concerns. Rollouts, and whoever else puts a release into a
// slot, write it by this package alone.
package slots

import (
	"fmt"
	"strconv"

	"coditect.ai/platform/infra/rollout"
	"coditect.ai/platform/stacks"
)

// Get reads a setting by its key without the project's prefix, "" where it is not set.
type Get = func(key string) string

// Set writes a setting.
type Set = func(key, value string)

var (
	imageKeys  = map[stacks.Slot]string{stacks.Blue: "serviceImageBlue", stacks.Green: "serviceImageGreen"}
	weightKeys = map[stacks.Slot]string{stacks.Blue: "gatewayWeightBlue", stacks.Green: "gatewayWeightGreen"}
)

// Keys are all settings that a release changes.
func Keys() []string {
	var keys []string
	for _, slot := range stacks.Slots() {
		keys = append(keys, imageKeys[slot], weightKeys[slot])
	}
	return keys
}

// Read is what the settings say; weights that are not set are the defaults.
func Read(get Get) (rollout.Split, error) {
	split := rollout.Split{Images: map[stacks.Slot]string{}, Weights: rollout.Weights{stacks.Blue: 100, stacks.Green: 0}}
	for _, slot := range stacks.Slots() {
		split.Images[slot] = get(imageKeys[slot])
		text := get(weightKeys[slot])
		if text == "" {
			continue
		}
		percent, err := strconv.Atoi(text)
		if err != nil {
			return split, fmt.Errorf("%s is %q and not a number: %w", weightKeys[slot], text, err)
		}
		split.Weights[slot] = percent
	}
	return split, nil
}

// Active is the slot that has most of the requests.
func Active(get Get) stacks.Slot {
	split, err := Read(get)
	if err == nil && split.Weights[stacks.Green] > split.Weights[stacks.Blue] {
		return stacks.Green
	}
	return stacks.Blue
}

// Keep leaves what each slot holds and gets as it is.
func Keep(get Get, set Set) {
	for _, key := range Keys() {
		if value := get(key); value != "" {
			set(key, value)
		}
	}
}

// Hold puts an image into a slot, or takes its own out of it, and leaves the rest as it is.
func Hold(slot stacks.Slot, image string) func(Get, Set) {
	return func(get Get, set Set) {
		Keep(get, set)
		set(imageKeys[slot], image)
	}
}

// Weigh divides requests, and leaves the rest as it is.
func Weigh(weights rollout.Weights) func(Get, Set) {
	return func(get Get, set Set) {
		Keep(get, set)
		for slot, percent := range weights {
			set(weightKeys[slot], strconv.Itoa(percent))
		}
	}
}
