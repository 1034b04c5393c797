package local

import (
	"coditect.ai/platform/infra/slots"
)

// What the slots hold is, in an environment of the cloud, committed in its
// stack file; here an image has a digest that this machine alone knows, so the
// engine's workspace keeps it.

// release changes what the slots hold: get reads what they held at the last update, set says what they shall hold.
type release func(get slots.Get, set slots.Set)

// deploy puts image into the slot that has the traffic and leaves the rest as it is.
func deploy(image string) release {
	return func(get slots.Get, set slots.Set) { slots.Hold(slots.Active(get), image)(get, set) }
}
