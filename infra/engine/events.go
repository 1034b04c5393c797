package engine

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/auto/events"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

// Follow runs what tells the engine's events and hands each of them to tell.
// When it returns, every event has been told.
func Follow(run func(chan<- events.EngineEvent) error, tell func(events.EngineEvent)) error {
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
				tell(event)
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

// Change is one property that differs.
type Change struct {
	Path string `json:"path"`
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Replaces tells that the property cannot be changed in place.
	Replaces bool `json:"replaces,omitempty"`
}

// String is the change in words.
func (c Change) String() string {
	words := c.Path + ": "
	switch {
	case c.From == "" && c.To == "":
		words += "differs"
	case c.From == "":
		words += c.To + " is added"
	case c.To == "":
		words += c.From + " is removed"
	default:
		words += c.From + " → " + c.To
	}
	if c.Replaces {
		words += " (cannot be changed in place)"
	}
	return words
}

// Changes lists the properties that differ, in the order of their paths.
func Changes(m apitype.StepEventMetadata) []Change {
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
