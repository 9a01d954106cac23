-- Whatever changes what is shown of a run tells those who follow it. Equal notifications of one transaction are one.
CREATE FUNCTION notify_run_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('run_changed', NEW.id::text);
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE FUNCTION notify_part_of_run_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('run_changed', NEW.run_id::text);
  RETURN NULL;
END $$;
--> statement-breakpoint
CREATE TRIGGER runs_changed AFTER UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION notify_run_changed();
--> statement-breakpoint
CREATE TRIGGER steps_changed AFTER INSERT OR UPDATE ON steps FOR EACH ROW EXECUTE FUNCTION notify_part_of_run_changed();
--> statement-breakpoint
CREATE TRIGGER attempts_changed AFTER INSERT OR UPDATE ON attempts FOR EACH ROW EXECUTE FUNCTION notify_part_of_run_changed();
--> statement-breakpoint
CREATE TRIGGER log_chunks_changed AFTER INSERT OR UPDATE ON log_chunks FOR EACH ROW EXECUTE FUNCTION notify_part_of_run_changed();
