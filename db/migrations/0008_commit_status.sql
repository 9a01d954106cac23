-- The git host is told what became of a push. What it is to be told is written in the transaction that changes a run's
-- status, whoever changes it, and sent later.
CREATE FUNCTION want_commit_status() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NEW.commit IS NULL OR (TG_OP = 'UPDATE' AND NEW.status = OLD.status) THEN
    RETURN NULL;
  END IF;
  INSERT INTO commit_statuses (run_id)
  SELECT NEW.id FROM projects p WHERE p.id = NEW.project_id AND p.remote_url IS NOT NULL
  ON CONFLICT (run_id) DO UPDATE
    SET wanted = commit_statuses.wanted + 1, attempts = 0, next_attempt_at = clock_timestamp(), failure = NULL;
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER runs_commit_status AFTER INSERT OR UPDATE OF status ON runs
  FOR EACH ROW WHEN (NEW.trigger ->> 'kind' = 'push') EXECUTE FUNCTION want_commit_status();
