import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.util.StringJoiner;

/**
 * Prints what a JDBC driver's DatabaseMetaData tells of a database: "NAME|value|value", a line a row.
 * Arguments: URL user password catalog. The driver's class is found by the URL.
 */
public final class Metadata {
    private static void print(String name, ResultSet rows, String... columns) throws Exception {
        int count = 0;
        while (rows.next()) {
            StringJoiner line = new StringJoiner("|");
            line.add(name);
            for (String column : columns) {
                line.add(String.valueOf(rows.getString(column)));
            }
            System.out.println(line);
            count++;
        }
        rows.close();
        if (count == 0) {
            System.out.println(name + "|none");
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].startsWith("jdbc:jtds")) {
            Class.forName("net.sourceforge.jtds.jdbc.Driver");
        }
        String catalog = arguments[3];
        try (Connection connection = DriverManager.getConnection(arguments[0], arguments[1], arguments[2])) {
            DatabaseMetaData data = connection.getMetaData();
            System.out.println("product|" + data.getDatabaseProductName() + "|" + data.getDatabaseMajorVersion());
            System.out.println("user|" + data.getUserName());
            print("catalogs", data.getCatalogs(), "TABLE_CAT");
            print("schemas", data.getSchemas(), "TABLE_SCHEM");
            print("types", data.getTableTypes(), "TABLE_TYPE");
            print("tables", data.getTables(catalog, "dbo", "%", new String[] {"TABLE", "VIEW"}),
                "TABLE_CAT", "TABLE_SCHEM", "TABLE_NAME", "TABLE_TYPE");
            print("columns", data.getColumns(catalog, "dbo", "%", "%"), "TABLE_NAME", "COLUMN_NAME", "DATA_TYPE",
                "TYPE_NAME", "COLUMN_SIZE", "DECIMAL_DIGITS", "NULLABLE", "COLUMN_DEF", "ORDINAL_POSITION");
            print("keys", data.getPrimaryKeys(catalog, "dbo", "orders"), "COLUMN_NAME", "KEY_SEQ", "PK_NAME");
            print("imported", data.getImportedKeys(catalog, "dbo", "orders"), "PKTABLE_NAME", "PKCOLUMN_NAME",
                "FKTABLE_NAME", "FKCOLUMN_NAME", "KEY_SEQ", "UPDATE_RULE", "DELETE_RULE", "FK_NAME");
            print("exported", data.getExportedKeys(catalog, "dbo", "customer"), "PKTABLE_NAME", "FKTABLE_NAME", "FK_NAME");
            print("indexes", data.getIndexInfo(catalog, "dbo", "customer", false, true), "NON_UNIQUE", "INDEX_NAME",
                "TYPE", "ORDINAL_POSITION", "COLUMN_NAME", "ASC_OR_DESC");
            print("procedures", data.getProcedures(catalog, "dbo", "%"), "PROCEDURE_NAME", "PROCEDURE_TYPE");
            print("arguments", data.getProcedureColumns(catalog, "dbo", "find%", "%"), "PROCEDURE_NAME",
                "COLUMN_NAME", "COLUMN_TYPE", "TYPE_NAME", "LENGTH");
            print("best", data.getBestRowIdentifier(catalog, "dbo", "customer", DatabaseMetaData.bestRowSession, true),
                "COLUMN_NAME", "TYPE_NAME");
            print("type", data.getTypeInfo(), "TYPE_NAME", "DATA_TYPE", "PRECISION");
            print("privileges", data.getTablePrivileges(catalog, "dbo", "customer"), "GRANTEE", "PRIVILEGE");
        }
    }
}
