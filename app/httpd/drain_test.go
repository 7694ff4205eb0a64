package httpd_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"

	"coffer/app/authz"
	"coffer/app/httpd"
)

// echo is a surface with one route.
type echo struct{ hold chan struct{} }

func (echo) Prefix() string { return "/" }

func (e echo) Routes() []httpd.Route {
	return []httpd.Route{{Method: "GET", Path: "/echo", Action: authz.ActionList, Handle: func(c *fiber.Ctx) error {
		if e.hold != nil {
			e.hold <- struct{}{}
			<-e.hold
		}
		return c.SendString("here")
	}}}
}

func (echo) Fail(c *fiber.Ctx, err error) error {
	p := httpd.ProblemOf(err)
	return c.Status(p.Status).SendString(p.Title)
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestShutdownAtAnyMoment: a server that is asked to stop before, while or after
// it begins to serve stops.
func TestShutdownAtAnyMoment(t *testing.T) {
	for range 200 {
		s := httpd.New(httpd.Options{Log: slog.New(slog.DiscardHandler), MaxConns: 100}, echo{})
		l, done := listen(t), make(chan error, 1)
		go func() { done <- s.Serve(l) }()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, net.ErrClosed) {
				t.Fatal(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("it serves on after Shutdown")
		}
	}
}

// TestShutdownAnswersWhatWasRead: a request under way is answered, and nobody
// new is let in.
func TestShutdownAnswersWhatWasRead(t *testing.T) {
	e := echo{hold: make(chan struct{})}
	s := httpd.New(httpd.Options{Log: slog.New(slog.DiscardHandler), MaxConns: 100}, e)
	l, served := listen(t), make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		resp, err := http.Get("http://" + l.Addr().String() + "/echo")
		if err != nil {
			got <- answer{err: err}
			return
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		got <- answer{string(b), err}
	}()
	<-e.hold // it was read
	stopped := make(chan error, 1)
	go func() { stopped <- s.Shutdown(context.Background()) }()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", l.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("somebody was let in while stopping")
	}
	e.hold <- struct{}{}
	if a := <-got; a.err != nil || a.text != "here" {
		t.Error(a)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
