package historytest

import (
	"strings"
	"testing"
	"time"
)

// One thing's acts in short: begin, end (0: lost), act, by, of, value → status, value.
type line struct {
	begin, end int64
	call       Call
	answer     Answer
}

func history(model string, lines []line) *History {
	h := NewHistory()
	for n, l := range lines {
		h.acts[thing{model, "x"}] = append(h.acts[thing{model, "x"}], act{call: l.call, answer: l.answer, begin: l.begin, end: max(l.end, map[bool]int64{true: 1 << 62}[l.end == 0]), client: n})
	}
	return h
}

// What can be is explained, and what cannot be is found: the models are neither blind nor too strict.
func TestModels(t *testing.T) {
	t.Parallel()
	register := func(n string) Call { return Call{Act: "register", Value: n} }
	signIn := func(n string) Call { return Call{Act: "sign in", Value: n} }
	create, get, del := Call{Act: "create", Value: "new"}, Call{Act: "get"}, Call{Act: "delete"}
	rename := func(to string) Call { return Call{Act: "rename", Value: to} }
	refresh := func(token string) Call { return Call{Act: "refresh", Value: token} }
	set := func(by, of, role string) Call { return Call{Act: "set", By: by, Of: of, Value: role} }
	remove := func(by, of string) Call { return Call{Act: "remove", By: by, Of: of} }
	found := line{1, 2, Call{Act: "found", Value: "owner member"}, Answer{201, ""}}
	entered := line{1, 2, Call{Act: "sign in"}, Answer{200, "a"}}
	for name, tt := range map[string]struct {
		model string
		lines []line
		can   bool
	}{
		"one of two who register":               {Account, []line{{1, 9, register("1"), Answer{201, ""}}, {2, 8, register("2"), Answer{409, ""}}, {10, 11, signIn("1"), Answer{200, ""}}}, true},
		"both register":                         {Account, []line{{1, 9, register("1"), Answer{201, ""}}, {2, 8, register("2"), Answer{201, ""}}}, false},
		"a lost registration had its effect":    {Account, []line{{1, 0, register("1"), Answer{}}, {2, 3, register("2"), Answer{409, ""}}, {4, 5, signIn("1"), Answer{200, ""}}}, true},
		"a lost registration came to nothing":   {Account, []line{{1, 0, register("1"), Answer{}}, {2, 3, register("2"), Answer{201, ""}}, {4, 5, signIn("1"), Answer{401, ""}}}, true},
		"a refused one had its effect":          {Account, []line{{1, 2, register("1"), Answer{201, ""}}, {3, 4, register("2"), Answer{409, ""}}, {5, 6, signIn("2"), Answer{200, ""}}}, false},
		"a registration is forgotten":           {Account, []line{{1, 2, register("1"), Answer{201, ""}}, {3, 4, signIn("1"), Answer{401, ""}}}, false},
		"an unforeseen answer":                  {Account, []line{{1, 2, register("1"), Answer{500, ""}}}, false},
		"a key's session is one":                {Session, []line{{1, 2, create, Answer{201, "a"}}, {3, 4, create, Answer{201, "a"}}}, true},
		"a key's session is made twice":         {Session, []line{{1, 2, create, Answer{201, "a"}}, {3, 4, create, Answer{201, "b"}}}, false},
		"a lost creation is told of later":      {Session, []line{{1, 0, create, Answer{}}, {2, 3, create, Answer{201, "a"}}, {4, 5, get, Answer{200, "new"}}}, true},
		"a lost renaming takes effect later":    {Session, []line{{1, 2, create, Answer{201, "a"}}, {3, 0, rename("x"), Answer{}}, {4, 5, get, Answer{200, "new"}}, {6, 7, get, Answer{200, "x"}}}, true},
		"a renaming is undone":                  {Session, []line{{1, 2, create, Answer{201, "a"}}, {3, 4, rename("x"), Answer{200, "x"}}, {5, 6, get, Answer{200, "new"}}}, false},
		"an old name is read":                   {Session, []line{{1, 2, create, Answer{201, "a"}}, {3, 9, rename("x"), Answer{200, "x"}}, {4, 5, get, Answer{200, "x"}}, {6, 7, get, Answer{200, "new"}}}, false},
		"a deleted one is back":                 {Session, []line{{1, 2, create, Answer{201, "a"}}, {3, 4, del, Answer{200, ""}}, {5, 6, get, Answer{200, "new"}}}, false},
		"a list misses one":                     {Session, []line{{1, 2, create, Answer{201, "a"}}, {3, 4, Call{Act: "list"}, Answer{200, gone}}}, false},
		"two delete at one moment":              {Session, []line{{1, 2, create, Answer{201, "a"}}, {3, 9, del, Answer{200, ""}}, {4, 8, del, Answer{200, ""}}, {10, 11, del, Answer{404, ""}}}, true},
		"two delete, one after the other's end": {Session, []line{{1, 2, create, Answer{201, "a"}}, {3, 4, del, Answer{200, ""}}, {5, 6, get, Answer{404, ""}}, {7, 8, del, Answer{200, ""}}}, false},
		"a token is rotated":                    {Login, []line{entered, {3, 4, refresh("a"), Answer{200, "b"}}, {5, 6, refresh("a"), Answer{200, "b"}}, {7, 8, refresh("b"), Answer{200, "c"}}}, true},
		"two successors":                        {Login, []line{entered, {3, 9, refresh("a"), Answer{200, "b"}}, {4, 8, refresh("a"), Answer{200, "c"}}}, false},
		"a lost rotation is told of":            {Login, []line{entered, {3, 0, refresh("a"), Answer{}}, {4, 5, refresh("a"), Answer{200, "b"}}, {6, 7, refresh("b"), Answer{200, "c"}}}, true},
		"a spent token comes back":              {Login, []line{entered, {3, 4, refresh("a"), Answer{200, "b"}}, {5, 6, refresh("b"), Answer{200, "a"}}}, false},
		"signed out, and still good":            {Login, []line{entered, {3, 4, Call{Act: "logout"}, Answer{200, ""}}, {5, 6, Call{Act: "use"}, Answer{200, ""}}}, false},
		"a good one is refused":                 {Login, []line{entered, {3, 4, Call{Act: "use"}, Answer{401, ""}}}, false},
		"an owner hands over":                   {Tenant, []line{found, {3, 4, set("0", "1", "owner"), Answer{200, ""}}, {5, 6, set("1", "0", "member"), Answer{200, ""}}, {7, 8, Call{Act: "members", By: "0"}, Answer{200, "member owner"}}}, true},
		"the last owner goes":                   {Tenant, []line{found, {3, 4, remove("0", "0"), Answer{200, ""}}}, false},
		"two owners go at one moment":           {Tenant, []line{found, {3, 4, set("0", "1", "owner"), Answer{200, ""}}, {5, 9, remove("0", "0"), Answer{200, ""}}, {6, 8, remove("1", "1"), Answer{200, ""}}}, false},
		"one of two owners goes":                {Tenant, []line{found, {3, 4, set("0", "1", "owner"), Answer{200, ""}}, {5, 9, remove("0", "0"), Answer{200, ""}}, {6, 8, remove("1", "1"), Answer{409, ""}}}, true},
		"a member makes themselves an owner":    {Tenant, []line{found, {3, 4, set("1", "1", "owner"), Answer{200, ""}}}, false},
		"the last owner demotes themselves":     {Tenant, []line{found, {3, 4, set("0", "0", "member"), Answer{200, ""}}}, false},
		"both send one away at one moment":      {Tenant, []line{found, {3, 9, remove("0", "1"), Answer{200, ""}}, {4, 8, remove("1", "1"), Answer{200, ""}}, {10, 11, remove("0", "1"), Answer{404, ""}}}, true},
		"one sends away who is away":            {Tenant, []line{found, {3, 4, remove("0", "1"), Answer{200, ""}}, {5, 6, Call{Act: "members", By: "0"}, Answer{200, "owner none"}}, {7, 8, remove("0", "1"), Answer{200, ""}}}, false},
	} {
		faults := history(tt.model, tt.lines).Check(time.Minute)
		if (len(faults) == 0) != tt.can {
			t.Errorf("%s: %s", name, strings.Join(faults, "\n"))
		}
	}
}
