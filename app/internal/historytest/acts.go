package historytest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func jsonOf(pairs ...string) string {
	m := map[string]string{}
	for pair := range slices.Chunk(pairs, 2) {
		m[pair[0]] = pair[1]
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings always have a form
	}
	return string(text)
}

func secret(n string) string { return "correct horse battery staple " + n }

func (c *client) registration(email, n string) string {
	return jsonOf("email", email, "password", secret(n), "first_name", "Ada", "last_name", "Lovelace")
}

// account: several register one address, each with a password of their own, and sign in with it.
func (c *client) account(ctx context.Context) {
	s, _ := c.current(Account)
	email, n := s.name+"@example.org", strconv.Itoa(c.number)
	if c.IntN(2) == 0 {
		c.do(ctx, Account, s.name, Call{Act: "register", Value: n}, http.MethodPost, "/auth/register", "", c.registration(email, n), "", nil, nil)
		return
	}
	c.do(ctx, Account, s.name, Call{Act: "sign in", Value: n}, http.MethodPost, "/auth/login", "", jsonOf("email", email, "password", secret(n)), "", nil, nil)
}

type oneSession struct {
	Data struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	} `json:"data"`
}

// session: all make the same one, by its idempotency key, rename it, look, and delete it.
func (c *client) session(ctx context.Context) {
	s, _ := c.current(Session)
	token, path := c.tokens[s.user], "/sessions/"+s.id
	var one oneSession
	name := func() string { return one.Data.Name }
	n := c.IntN(20)
	switch {
	case s.id == "" || n < 3:
		c.do(ctx, Session, s.name, Call{Act: "create", Value: "new"}, http.MethodPost, "/sessions", token, jsonOf("name", "new"), s.name, &one,
			func() string { return one.Data.ID })
		if one.Data.ID != "" {
			c.tell(Session, s.name, func(s *subject) { s.id = one.Data.ID })
		}
	case n < 9:
		c.do(ctx, Session, s.name, Call{Act: "get"}, http.MethodGet, path, token, "", "", &one, name)
	case n < 12:
		var page struct{ Data []struct{ ID, Name string } }
		c.do(ctx, Session, s.name, Call{Act: "list"}, http.MethodGet, "/sessions?limit=200", token, "", "", &page, func() string {
			for _, found := range page.Data {
				if found.ID == s.id {
					return found.Name
				}
			}
			return gone
		})
	case n < 19:
		to := fmt.Sprintf("n%d", c.Uint32())
		c.do(ctx, Session, s.name, Call{Act: "rename", Value: to}, http.MethodPatch, path, token, jsonOf("name", to), "", &one, name)
	default:
		c.do(ctx, Session, s.name, Call{Act: "delete"}, http.MethodDelete, path, token, "", "", nil, nil)
	}
}

// login: all refresh the same one, by its newest tokens and by spent ones, and use it, until one signs it out.
func (c *client) login(ctx context.Context) {
	s, fresh := c.current(Login)
	var in signedIn
	token := func() string { return short(in.Data.Tokens.RefreshToken) }
	learn := func() {
		if in.Data.Tokens.RefreshToken == "" {
			return
		}
		c.tell(Login, s.name, func(s *subject) {
			s.access = in.Data.Tokens.AccessToken
			s.tokens = append(s.tokens, in.Data.Tokens.RefreshToken)
			s.tokens = s.tokens[max(0, len(s.tokens)-6):]
		})
	}
	n := c.IntN(20)
	switch {
	case fresh:
		if c.do(ctx, Login, s.name, Call{Act: "sign in"}, http.MethodPost, "/auth/register", "", c.registration(s.name+"-login@example.org", "0"), "", &in, token) {
			learn()
			return
		}
		c.tell(Login, s.name, func(s *subject) { s.left = 0 }) // who signs in without being told has no login to go on with
		c.history.forget(Login, s.name)
	case s.access == "": // somebody is signing in
	case n < 10:
		with := s.tokens[c.IntN(len(s.tokens))]
		if n < 6 {
			with = s.tokens[len(s.tokens)-1]
		}
		c.do(ctx, Login, s.name, Call{Act: "refresh", Value: short(with)}, http.MethodPost, "/auth/refresh", "", jsonOf("refresh_token", with), "", &in, token)
		learn()
	case n < 19:
		c.do(ctx, Login, s.name, Call{Act: "use"}, http.MethodGet, "/sessions?limit=1", s.access, "", "", nil, nil)
	default:
		c.do(ctx, Login, s.name, Call{Act: "logout"}, http.MethodPost, "/auth/logout", s.access, "", "", nil, nil)
	}
}

// tenant: its members give each other roles, send each other away, and look.
func (c *client) tenant(ctx context.Context) {
	s, fresh := c.current(Tenant)
	if fresh {
		begin := c.history.Now()
		id, err := c.Found(ctx, c.ids[:])
		if err != nil {
			c.tell(Tenant, s.name, func(s *subject) { s.left = 0 })
			return
		}
		c.history.Add(c.number, Tenant, s.name, begin, Call{Act: "found", Value: "owner" + strings.Repeat(" member", users-1)}, Answer{Status: http.StatusCreated})
		c.tell(Tenant, s.name, func(s *subject) { s.id = id })
		return
	}
	if s.id == "" {
		return // somebody is founding it
	}
	by, of := c.IntN(users), c.IntN(users)
	call := Call{By: strconv.Itoa(by), Of: strconv.Itoa(of)}
	path := "/tenants/" + s.id + "/members"
	one := path + "/" + c.ids[of]
	switch n := c.IntN(20); {
	case n < 5:
		call.Act, call.Of = "members", ""
		var page struct {
			Data []struct {
				UserID string `json:"user_id"`
				Role   string `json:"role"`
			} `json:"data"`
		}
		c.do(ctx, Tenant, s.name, call, http.MethodGet, path, c.tokens[by], "", "", &page, func() string {
			roles := slices.Repeat([]string{out}, users)
			for _, m := range page.Data {
				if i := slices.Index(c.ids[:], m.UserID); i >= 0 {
					roles[i] = m.Role
				}
			}
			return strings.Join(roles, " ")
		})
	case n < 19:
		call.Act, call.Value = "set", ranks[1+c.IntN(3)]
		if c.IntN(2) == 0 {
			call.Value = "owner" // or nobody could do much
		}
		c.do(ctx, Tenant, s.name, call, http.MethodPatch, one, c.tokens[by], jsonOf("role", call.Value), "", nil, nil)
	default:
		call.Act = "remove"
		c.do(ctx, Tenant, s.name, call, http.MethodDelete, one, c.tokens[by], "", "", nil, nil)
	}
}
