-- Written by the boatppl of schema 1 (application_id and user_version are set by the test).
BEGIN TRANSACTION;
CREATE TABLE settings (
    study TEXT NOT NULL REFERENCES studies (name),
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (study, key)
) STRICT;
INSERT INTO "settings" VALUES('old','random_seed','3','c104edf573d2a811');
CREATE TABLE studies (
    name TEXT PRIMARY KEY,
    created TEXT NOT NULL,
    objective TEXT NOT NULL,
    direction TEXT NOT NULL,
    space TEXT NOT NULL,
    model TEXT NOT NULL,
    digest TEXT NOT NULL
) STRICT;
INSERT INTO "studies" VALUES('old','2026-11-21T12:33:29.136502+00:00','loss','minimize','f2b3e4b1998cef77','','4334b312d8fd8f44');
CREATE TABLE trials (
    study TEXT NOT NULL REFERENCES studies (name),
    number INTEGER NOT NULL,
    configuration TEXT NOT NULL,
    context TEXT NOT NULL,
    state TEXT NOT NULL,
    measurements TEXT NOT NULL,
    reason TEXT NOT NULL,
    origin TEXT NOT NULL,
    suggestion TEXT NOT NULL,
    seed TEXT NOT NULL,
    started TEXT NOT NULL,
    finished TEXT NOT NULL,
    host TEXT NOT NULL,
    marks TEXT NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (study, number)
) STRICT;
INSERT INTO "trials" VALUES('old',0,'{"x":0.5,"n":4}','{}','"complete"','{"loss":0.09,"load":4.0}','null','"default"','null','3','"2026-11-21T12:33:29.140892+00:00"','"2026-11-21T12:33:29.141940+00:00"','"vm 17450"','[]','28d59a48903dc052');
INSERT INTO "trials" VALUES('old',1,'{"x":0.993234686553,"n":5}','{}','"complete"','{"loss":0.6292212679508362,"load":5.0}','null','"design"','null','3','"2026-11-21T12:33:29.147725+00:00"','"2026-11-21T12:33:29.148557+00:00"','"vm 17450"','[]','6e50b449273b2ca0');
INSERT INTO "trials" VALUES('old',2,'{"x":0.251878640614,"n":1}','{}','"complete"','{"loss":0.0026913933519565696,"load":1.0}','null','"design"','null','3','"2026-11-21T12:33:29.149856+00:00"','"2026-11-21T12:33:29.150613+00:00"','"vm 17450"','[]','b11e7c8a2c757fdb');
INSERT INTO "trials" VALUES('old',3,'{"x":0.249296247959,"n":8}','{}','"running"','{}','null','"design"','null','3','"2026-11-21T12:33:29.151884+00:00"','null','"vm 17450"','[]','9d8285a2f7bbae0f');
COMMIT;
