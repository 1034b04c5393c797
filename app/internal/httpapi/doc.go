// Package httpapi owns the service's face: routes, the envelope of every
// answer, how a request is read and refused, and which status a fault has.
// Rules live in auth and session; this package translates and decides nothing
// about users or workspaces.
//
// The route table (Routes) is data: the router, the Allow headers and the
// description of the API are all made from it.
//
// What it does where the API leaves a choice:
//   - Unknown or repeated query parameters are refused, except on the probes,
//     since load balancers decorate those. A body that a route does not take
//     is ignored.
//   - A JSON null stands for an absent member; member names are case-sensitive.
//   - HEAD is answered wherever GET is, OPTIONS everywhere.
//   - A request that net/http itself cannot read (a malformed head, one larger
//     than MaxHeaderBytes) is answered by net/http, in plain text.
package httpapi
