package preview

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
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
	URN       string   `json:"urn"`
	Type      string   `json:"type"`
	Name      string   `json:"name"`
	Parent    string   `json:"parent,omitempty"` // its URN
	Component bool     `json:"component,omitempty"`
	Op        string   `json:"op"`
	Protected bool     `json:"protected,omitempty"`
	Changes   []Change `json:"changes,omitempty"`

	inputs map[string]any
	secret bool
}

// Change is one property that differs.
type Change struct {
	Path string `json:"path"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Replaces tells that the property cannot be changed in place.
	Replaces bool `json:"replaces,omitempty"`
}

// follow runs the engine and takes every step that it tells into the plan.
func (p *Plan) follow(run func(chan<- events.EngineEvent) error) error {
	ch := make(chan events.EngineEvent)
	ended := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		for {
			select {
			case event, open := <-ch:
				if !open {
					return
				}
				if event.ResourcePreEvent != nil {
					p.step(event.ResourcePreEvent.Metadata)
				}
			case <-ended: // an engine that never connected leaves the channel open
				return
			}
		}
	}()
	err := run(ch)
	close(ended)
	<-told
	return err
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
			r.Changes = changes(m)
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

// changes lists the properties that differ, in the order of their paths.
func changes(m apitype.StepEventMetadata) []Change {
	var list []Change
	for _, path := range slices.Sorted(maps.Keys(m.DetailedDiff)) {
		kind := m.DetailedDiff[path].Kind
		list = append(list, Change{
			Path: path, From: short(find(m.Old.Inputs, path)), To: short(find(m.New.Inputs, path)),
			Replaces: strings.HasSuffix(string(kind), "-replace"),
		})
	}
	return list
}

// find follows a property path like spec.template.spec.containers[0].image.
func find(value any, path string) any {
	for _, step := range steps(path) {
		switch node := value.(type) {
		case map[string]any:
			value = node[step]
		case []any:
			var i int
			if _, err := fmt.Sscanf(step, "%d", &i); err != nil || i < 0 || i >= len(node) {
				return nil
			}
			value = node[i]
		default:
			return nil
		}
	}
	return value
}

// steps takes a path apart; what stands in brackets is an index, or a quoted key that may have dots.
func steps(path string) []string {
	var list []string
	for path != "" {
		switch {
		case strings.HasPrefix(path, "["):
			inside, rest, _ := strings.Cut(path[1:], "]")
			list, path = append(list, strings.Trim(inside, `"`)), rest
		case strings.HasPrefix(path, "."):
			path = path[1:]
		default:
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			list, path = append(list, path[:end]), path[end:]
		}
	}
	return list
}

// maxValue is how much of a value is shown, in bytes.
const maxValue = 80

// short is a value in a line; "" where there is none.
func short(value any) string {
	if value == nil {
		return ""
	}
	text, isText := value.(string)
	if !isText {
		raw, err := json.Marshal(value)
		if err != nil {
			return ""
		}
		text = string(raw)
	}
	if len(text) > maxValue {
		return strings.ToValidUTF8(text[:maxValue], "") + "…"
	}
	return text
}
