import com.microsoft.sqlserver.jdbc.*;
import java.sql.*;

/** Copies a table of many types to another with SQLServerBulkCopy, identity values and NULLs kept; prints how many
 *  rows came, how many of them are equal, and what became of a NULL in a column with a default.
 *  Arguments: JDBC URL. */
public class BulkCopy {
  static final String COLUMNS = "(id int IDENTITY PRIMARY KEY, v nvarchar(40) NULL DEFAULT N'unsaid',"
      + " n decimal(10, 2) NULL CHECK (n > 0), d datetime2 NULL, b varbinary(max) NULL, m nvarchar(max) NULL,"
      + " dt datetime NULL, f float NULL, u uniqueidentifier NULL, t time(3) NULL, bt bit NULL)";

  public static void main(String[] args) throws Exception {
    try (Connection target = DriverManager.getConnection(args[0]); Statement statement = target.createStatement()) {
      for (String name : new String[] {"source", "target"}) {
        statement.execute("IF OBJECT_ID(N'dbo." + name + "') IS NOT NULL DROP TABLE dbo." + name);
        statement.execute("CREATE TABLE dbo." + name + COLUMNS);
      }
      statement.execute("SET IDENTITY_INSERT dbo.source ON;"
          + " INSERT dbo.source (id, v, n, d, b, m, dt, f, u, t, bt) VALUES (7, N'x', 1.5, '2024-02-29T12:34:56.1234567', 0x00FF,"
          + " REPLICATE(CAST(N'é' AS nvarchar(max)), 9000), '2024-01-02T03:04:05.007', 1e10, NEWID(), '23:59:59.999', 1);"
          + " INSERT dbo.source (id, v) VALUES (9, NULL); SET IDENTITY_INSERT dbo.source OFF");
      try (Connection other = DriverManager.getConnection(args[0]); Statement query = other.createStatement();
          ResultSet rows = query.executeQuery("SELECT * FROM dbo.source")) {
        SQLServerBulkCopyOptions options = new SQLServerBulkCopyOptions();
        options.setKeepIdentity(true);
        options.setKeepNulls(true);
        options.setTableLock(true);
        options.setCheckConstraints(true);
        SQLServerBulkCopy copy = new SQLServerBulkCopy(target);
        copy.setBulkCopyOptions(options);
        copy.setDestinationTableName("dbo.target");
        copy.writeToServer(rows);
        copy.close();
      }
      try (ResultSet found = statement.executeQuery("SELECT (SELECT COUNT(*) FROM dbo.target),"
          + " (SELECT COUNT(*) FROM dbo.source s JOIN dbo.target t ON s.id = t.id AND s.v = t.v AND s.n = t.n AND s.d = t.d"
          + " AND s.b = t.b AND s.m = t.m AND s.dt = t.dt AND s.f = t.f AND s.u = t.u AND s.t = t.t AND s.bt = t.bt),"
          + " (SELECT v FROM dbo.target WHERE id = 9)")) {
        found.next();
        System.out.println(found.getInt(1) + " " + found.getInt(2) + " " + found.getString(3));
      }
    }
  }
}
