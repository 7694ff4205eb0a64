package sqlite

// maxCachedSQL is the longest SQL text in bytes that a cached statement has.
// Longer ones are generated texts that seldom come twice.
const maxCachedSQL = 16 << 10

// cache keeps idle prepared statements by their text, the least recently used
// one leaving first. A statement that is handed out is not in it.
type cache struct {
	limit  int
	byText map[string]*Stmt
	newest *Stmt // a list through Stmt.older and Stmt.newer
	oldest *Stmt
}

// take removes and returns the idle statement of a text, or nil.
func (k *cache) take(sql string) *Stmt {
	s := k.byText[sql]
	if s != nil {
		k.unlink(s)
	}
	return s
}

// put keeps s if it may be kept, and reports whether it does.
func (k *cache) put(s *Stmt) bool {
	if k.limit == 0 || len(s.sql) > maxCachedSQL || k.byText[s.sql] != nil {
		return false
	}
	if len(k.byText) >= k.limit {
		old := k.oldest
		k.unlink(old)
		old.finalize()
	}
	if k.byText == nil {
		k.byText = make(map[string]*Stmt, k.limit)
	}
	k.byText[s.sql] = s
	if s.older = k.newest; s.older != nil {
		s.older.newer = s
	} else {
		k.oldest = s
	}
	k.newest = s
	return true
}

func (k *cache) unlink(s *Stmt) {
	delete(k.byText, s.sql)
	if s.newer != nil {
		s.newer.older = s.older
	} else {
		k.newest = s.older
	}
	if s.older != nil {
		s.older.newer = s.newer
	} else {
		k.oldest = s.newer
	}
	s.newer, s.older = nil, nil
}

// flush finalizes every idle statement.
func (k *cache) flush() {
	for k.newest != nil {
		s := k.newest
		k.unlink(s)
		s.finalize()
	}
}
