package httpd

import (
	"context"
	"strings"

	"github.com/gofiber/fiber/v2"

	"coffer/app/actions"
	"coffer/app/directory"
	"coffer/app/domain"
)

// Caller finds out for a surface of programs who asks: the bearer of a token or a
// session, or without one, on the local socket, the peer's user. A request with
// a token is judged by that token alone, wherever it came from.
func Caller(ctx context.Context, c *fiber.Ctx, service *actions.Service) (actions.Caller, error) {
	return CallerWith(ctx, c, service, "")
}

// CallerWith is Caller for a surface whose clients have a header of their own for
// the token: what it holds goes before the bearer, "" is none.
func CallerWith(ctx context.Context, c *fiber.Ctx, service *actions.Service, own string) (actions.Caller, error) {
	who := actions.Caller{Call: Call(c)}
	var err error
	uid, local := Peer(c)
	header := c.Get(fiber.HeaderAuthorization)
	text, bearer := strings.CutPrefix(header, "Bearer ")
	if own != "" {
		text, bearer = own, true
	}
	switch {
	case bearer:
		who.Call.Auth = "token"
		if strings.HasPrefix(text, directory.SessionPrefix) {
			who.Call.Auth = "session"
		}
		who.Subject, err = service.Bearer(ctx, domain.SecretString(text), who.Call.Source)
	case header != "":
		service.Stranger(who.Call.Source, "no bearer token")
		err = domain.Errorf(domain.Unauthentic, "the Authorization header is not a bearer token").
			WithHint("send: Authorization: Bearer cft_…, or cfu_… of a session")
	case local:
		who.Call.Auth = "socket"
		who.Subject, err = service.Socket(ctx, uid)
	default:
		service.Stranger(who.Call.Source, "no token")
		err = domain.Errorf(domain.Unauthentic, "no token was presented").WithHint("send: Authorization: Bearer cft_…")
	}
	if err == nil {
		Vouch(c)
	}
	return who, err
}
