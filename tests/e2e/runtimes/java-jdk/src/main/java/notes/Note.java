package notes;

/** One row of the table of notes; the time as text of ISO 8601. */
record Note(long id, String author, String title, String body, String createdAt) {}
