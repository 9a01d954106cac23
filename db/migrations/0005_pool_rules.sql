ALTER TABLE quotas ADD CONSTRAINT quotas_kind CHECK (kind IN ('project', 'user'));
--> statement-breakpoint
ALTER TABLE quotas ADD CONSTRAINT quotas_limits CHECK (runs >= 0 AND stages >= 0 AND devices >= 0);
--> statement-breakpoint
ALTER TABLE nodes ADD CONSTRAINT nodes_state CHECK (state IN ('active', 'draining', 'aside'));
--> statement-breakpoint
-- The shape of a slot counts its accelerators; the ids belong to the node.
UPDATE nodes SET devices = shape -> 'devices', shape = jsonb_set(shape, '{devices}', to_jsonb(jsonb_array_length(shape -> 'devices')))
WHERE jsonb_typeof(shape -> 'devices') = 'array';
--> statement-breakpoint
UPDATE executions e SET project_id = r.project_id, owner = r.owner, priority = r.priority FROM runs r WHERE r.id = e.run_id;
--> statement-breakpoint
CREATE FUNCTION fill_execution() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  SELECT r.project_id, r.owner, r.priority INTO NEW.project_id, NEW.owner, NEW.priority FROM runs r WHERE r.id = NEW.run_id;
  RETURN NEW;
END $$;
--> statement-breakpoint
CREATE TRIGGER executions_fill BEFORE INSERT ON executions FOR EACH ROW
  WHEN (NEW.project_id IS NULL OR NEW.owner IS NULL OR NEW.priority IS NULL) EXECUTE FUNCTION fill_execution();
--> statement-breakpoint
-- A run that ends may make room in a quota, and so may a change of the quota.
CREATE TRIGGER executions_closed_notify AFTER UPDATE OF dispatch ON executions FOR EACH ROW
  WHEN (NEW.dispatch = 'closed' AND OLD.dispatch <> 'closed') EXECUTE FUNCTION notify_dispatch();
--> statement-breakpoint
CREATE FUNCTION notify_quota() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('dispatch', 'quota');
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER quotas_notify AFTER INSERT OR UPDATE OR DELETE ON quotas FOR EACH STATEMENT EXECUTE FUNCTION notify_quota();
