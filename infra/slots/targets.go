package slots

import (
	"coditect.ai/platform/infra/gateway"
	"coditect.ai/platform/infra/service"
	"coditect.ai/platform/stacks"
)

// RouteTarget matches the one resource that a change of weights concerns, as
// the engine's --target does: the HTTPRoute of the API.
const RouteTarget = "**::" + gateway.Route + "-httproute"

// Targets match the resources that a change of a slot's image concerns.
func Targets(slot stacks.Slot) []string {
	return []string{"**::" + service.SlotName(string(slot)) + "*"}
}
