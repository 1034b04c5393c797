package gateway

import (
	"net/http"
	"testing"
	"time"
)

func TestBestMatchWins(t *testing.T) {
	entries := table{
		{path: "/", order: 0},
		{path: "/api", order: 1},
		{path: "/api/v5/", order: 2},
		{path: "/api/v5/health", exact: true, order: 3},
		{path: "/api", hostnames: []string{"*.example.com"}, order: 4},
		{path: "/only", hostnames: []string{"shop.example"}, order: 5},
	}.sorted()
	for url, want := range map[string]int{
		"http://x/":                   0,
		"http://x/apiary":             0,
		"http://x/api":                1,
		"http://x/api/v5":             2,
		"http://x/api/v5/sessions":    2,
		"http://x/api/v5/health":      3,
		"http://x/api/v5/health/no":   2,
		"http://x/only":               0,
		"http://shop.example/only/a":  5,
		"http://SHOP.example:80/only": 5,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		if found := entries.find(request); found == nil || found.order != want {
			t.Errorf("%s is led to %+v, want number %d", url, found, want)
		}
	}
	wild := &entry{path: "/", hostnames: []string{"*.example.com"}}
	for host, want := range map[string]bool{"a.example.com": true, "a.b.example.com": true, "example.com": false, "aexample.com": false} {
		if wild.matches(host, "/") != want {
			t.Errorf("%s matches *.example.com: %t", host, !want)
		}
	}
}

func TestSplitIsExactAndEven(t *testing.T) {
	weights := []int{50, 30, 20, 0}
	s := newSplit(nil, time.Time{})
	for _, weight := range weights {
		s.backends = append(s.backends, &backend{weight: weight, classes: map[string]uint64{}})
		s.total += weight
	}
	for round := 1; round <= 3; round++ {
		for range 100 {
			s.pick()
		}
		for i, b := range s.backends {
			if b.requests != uint64(round*weights[i]) {
				t.Errorf("after %d requests backend %d got %d", round*100, i, b.requests)
			}
		}
	}
	counted := map[*backend]int{}
	for range 10 {
		counted[s.pick()]++
	}
	if counted[s.backends[0]] != 5 || counted[s.backends[1]] != 3 || counted[s.backends[2]] != 2 {
		t.Errorf("ten requests were divided %v", counted)
	}
	if newSplit([]*backend{{}, {}}, time.Time{}).pick() != nil {
		t.Error("a split of zeros picks something")
	}
}

func TestCountersOutliveAChangeOfWeights(t *testing.T) {
	of := func(weight int) *split {
		return newSplit([]*backend{{name: "a", port: 80, weight: weight, classes: map[string]uint64{}}}, time.Time{})
	}
	old := of(1)
	old.answered(old.pick(), 204)
	if same := of(1).inherit(old); !same {
		t.Error("the same weights are taken for others")
	}
	changed := of(2)
	if changed.inherit(old) {
		t.Error("other weights are taken for the same")
	}
	status, _ := changed.status()
	if status[0].Requests != 1 || status[0].Recent != 0 || status[0].Classes["2xx"] != 1 {
		t.Errorf("after the change: %+v", status[0])
	}
}
