package preview

import (
	"encoding/json"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"

	"coditect.ai/platform/infra/engine"
)

// What is done to a resource.
const (
	Same    = "same"
	Create  = "create"
	Update  = "update"
	Replace = "replace" // deleted and made anew: what it held is gone
	Delete  = "delete"
)

var operations = map[apitype.OpType]string{
	apitype.OpSame: Same, apitype.OpCreate: Create, apitype.OpUpdate: Update, apitype.OpDelete: Delete,
	apitype.OpReplace: Replace,
}

// Resource is one resource of a plan.
type Resource struct {
	URN       string          `json:"urn"`
	Type      string          `json:"type"`
	Name      string          `json:"name"`
	Parent    string          `json:"parent,omitempty"` // its URN
	Component bool            `json:"component,omitempty"`
	Op        string          `json:"op"`
	Protected bool            `json:"protected,omitempty"`
	Changes   []engine.Change `json:"changes,omitempty"`

	inputs map[string]any
	secret bool
}

// step takes one planned step over.
func (p *Plan) step(m apitype.StepEventMetadata) {
	op, shown := operations[m.Op]
	if !shown || m.Type == "pulumi:pulumi:Stack" || strings.HasPrefix(m.Type, "pulumi:providers:") {
		return
	}
	state := m.New
	if state == nil {
		state = m.Old
	}
	if state == nil {
		return
	}
	r := Resource{
		URN: m.URN, Type: m.Type, Name: m.URN[strings.LastIndex(m.URN, "::")+2:], Parent: state.Parent,
		Component: !state.Custom, Op: op, Protected: state.Protect,
	}
	if state.Custom {
		r.inputs, r.secret = plain(state.Inputs)
		if m.Old != nil && m.New != nil {
			r.Changes = engine.Changes(m)
		}
	}
	p.Resources = append(p.Resources, r)
}

// secretMark is what the engine's events show in the place of a secret value.
const secretMark = "[secret]"

// plain is inputs as JSON has them; secret tells that some are not shown.
func plain(inputs map[string]any) (values map[string]any, secret bool) {
	raw, err := json.Marshal(inputs)
	if err != nil || json.Unmarshal(raw, &values) != nil {
		return map[string]any{}, false
	}
	delete(values, "__defaults")
	return values, strings.Contains(string(raw), secretMark)
}
